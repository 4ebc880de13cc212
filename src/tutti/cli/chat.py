"""`tutti chat`: a conversation at a prompt, with streamed answers. Only the lines typed are kept between
sessions."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory

from tutti.cli import flags, options
from tutti.cli.http import Api, Json, connect, part, parts
from tutti.cli.output import note, write, write_json
from tutti.cli.server import ApiError

HELP = """\
/system TEXT   set the system message (without TEXT: remove it)
/model NAME    switch to another model (without NAME: show the current one)
/clear         forget the conversation
/save FILE     save the conversation as JSON
/help          show this help
Ctrl-C stops an answer, Ctrl-D quits.
"""
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass
class Conversation:
    api: Api
    model: str
    sampling: Json
    system: str | None = None
    turns: list[Json] = field(default_factory=list[Json])

    @property
    def messages(self) -> list[Json]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return system + self.turns


def chat(
    context: typer.Context,
    model: options.Model = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    seed: options.Seed = None,
    reasoning_effort: Annotated[str | None, typer.Option(help="low, medium or high.")] = None,
) -> None:
    """Talk to a model at a prompt. Type /help there for its commands."""
    sampling = options.given(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        reasoning_effort=reasoning_effort,
    )
    with connect(context) as api:
        conversation = Conversation(api, options.chosen(api, model, "chat"), sampling, system)
        if sys.stdin.isatty():
            write(f"{conversation.model}. /help for help, Ctrl-D to quit.\n")
        for line in _lines():
            _take(conversation, line)


def _lines() -> Iterator[str]:
    """Yield the user's lines, typed at a prompt or read from a pipe."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    session = _session(flags.settings().data_dir)
    while True:
        try:
            line = session.prompt(">>> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if line:
            yield line


def _session(folder: Path) -> PromptSession[str]:
    return PromptSession(
        history=FileHistory(str(folder / "chat_history")),
        completer=WordCompleter([f"/{name}" for name in COMMANDS], sentence=True),
        complete_while_typing=False,
    )


def _take(conversation: Conversation, line: str) -> None:
    name, _, argument = line.removeprefix("/").partition(" ")
    if not line.startswith("/"):
        _say(conversation, line)
    elif name in COMMANDS:
        COMMANDS[name](conversation, argument.strip())
    else:
        note(f"there is no command /{name}: /help lists the commands")


# --- answers ------------------------------------------------------------------------------------------------


def _say(conversation: Conversation, text: str) -> None:
    """Send a message and print the answer, then add both to the conversation.

    An answer that the user stops is kept as far as it came. If an answer fails or never begins, neither it
    nor the message is kept."""
    conversation.turns.append({"role": "user", "content": text})
    pieces: list[str] = []
    try:
        _stream(conversation, pieces)
    except KeyboardInterrupt:
        write(_PLAIN + "\n" if sys.stdout.isatty() else "\n")
    except ApiError as error:
        note(str(error))
        pieces.clear()
    if pieces:
        conversation.turns.append({"role": "assistant", "content": "".join(pieces)})
    else:
        conversation.turns.pop()


def _stream(conversation: Conversation, pieces: list[str]) -> None:
    body = conversation.sampling | {"model": conversation.model, "messages": conversation.messages}
    thinking = False
    with contextlib.closing(conversation.api.stream("chat/completions", body)) as chunks:
        for chunk in chunks:
            for delta in (part(choice, "delta") for choice in parts(chunk, "choices")):
                thinking = _show(delta, pieces, thinking)
    write(_PLAIN + "\n" if thinking else "\n")


def _show(delta: Json, pieces: list[str], thinking: bool) -> bool:
    """Print a delta. Reasoning is dimmed on a terminal, and left out elsewhere. Return True while it
    reasons."""
    reasoning, content = delta.get("reasoning"), delta.get("content")
    if reasoning and sys.stdout.isatty():
        write(reasoning if thinking else _DIM + reasoning)
        thinking = True
    if content:
        write(_PLAIN + "\n" + content if thinking else content)
        pieces.append(content)
        return False
    return thinking


# --- commands -----------------------------------------------------------------------------------------------


def _help(_conversation: Conversation, _argument: str) -> None:
    write(HELP)


def _clear(conversation: Conversation, _argument: str) -> None:
    conversation.turns.clear()


def _system(conversation: Conversation, text: str) -> None:
    conversation.system = text or None


def _model(conversation: Conversation, name: str) -> None:
    try:
        if name:
            options.check_model(conversation.api, name)
            conversation.model = name
    except ApiError as error:
        note(str(error))
    write(f"{conversation.model}\n")


def _save(conversation: Conversation, name: str) -> None:
    if not name:
        note("/save needs the name of a file")
        return
    try:
        with Path(name).expanduser().open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            write_json({"model": conversation.model, "messages": conversation.messages})
        note(f"saved {name}")
    except OSError as error:
        note(str(error))


COMMANDS: dict[str, Callable[[Conversation, str], None]] = {
    "help": _help,
    "clear": _clear,
    "system": _system,
    "model": _model,
    "save": _save,
}
