"""Counts tokens with the tokenizer.json of a model from the Hugging Face hub.

Its chat template is rendered as transformers renders it.
"""

# pyright: basic
# tokenizers comes without types.

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from tutti.workers.gguf import BadModel
from tutti.workers.tokens.base import Count, Refused, Sample


@contextmanager
def hub_counter(folder: Path, template: str | None) -> Iterator[Count]:
    """Open a counter for a model folder. Raises BadModel if there is no tokenizer.json.

    `template` replaces the model's own chat template.
    """
    if not (folder / "tokenizer.json").exists():
        raise BadModel("it has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config = json.loads(_read(folder / "tokenizer_config.json") or "{}")
    text = template or _read(folder / "chat_template.jinja") or _template_of(config)
    chat = _environment().from_string(text) if text else None
    yield _Counter(tokenizer, chat, _special(config)).count


class _Counter:
    def __init__(self, tokenizer: Tokenizer, chat: Template | None, special: Mapping[str, str]) -> None:
        self._tokenizer = tokenizer
        self._chat = chat
        self._special = special

    def count(self, samples: Sequence[Sample]) -> int:
        texts = [sample["text"] for sample in samples if "text" in sample]
        chats = [self._render(sample) for sample in samples if "text" not in sample]
        return self._tokens(texts, special=True) + self._tokens(chats, special=False)

    def _tokens(self, texts: Sequence[str], *, special: bool) -> int:
        """Return the number of tokens. `special` adds those that the tokenizer adds by itself, such as BOS.

        A chat template writes them into its text.
        """
        return sum(len(it.ids) for it in self._tokenizer.encode_batch(texts, add_special_tokens=special))

    def _render(self, sample: Sample) -> str:
        if self._chat is None:
            raise Refused(sample["line"], "the model has no chat template")
        tools = sample.get("tools") or None
        try:
            return self._chat.render(
                messages=[_message(it) for it in sample["messages"]],
                tools=tools,
                add_generation_prompt=False,
                **self._special,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise Refused(sample["line"], str(error)) from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    own: dict[str, Any] = {"raise_exception": _raise, "strftime_now": _strftime_now}
    environment.globals.update(own)
    return environment


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _template_of(config: Mapping[str, Any]) -> str | None:
    """Return the configuration's chat template: the only one, or of several named ones the default."""
    found = config.get("chat_template")
    if isinstance(found, list):
        return next((it["template"] for it in found if it["name"] == "default"), None)
    return found


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens under their names in templates, such as bos_token."""
    found = {name: value for name, value in config.items() if name.endswith("_token")}
    texts = {name: token["content"] if isinstance(token, dict) else token for name, token in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message with the arguments of tool calls as objects.

    Templates expect that, as the documentation of transformers says.
    """
    calls = message.get("tool_calls")
    return {**message, "tool_calls": [_call(call) for call in calls]} if calls else message


def _call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["function"].get("arguments", {})
    return {**call, "function": {**call["function"], "arguments": _as_object(arguments)}}


def _as_object(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
