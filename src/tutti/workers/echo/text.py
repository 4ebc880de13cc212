"""Computes the fake engine's whole answer from the request's body, before anything is sent."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tutti.workers.echo.options import Options
from tutti.workers.echo.schema import minimal
from tutti.workers.echo.words import invented, tokens_of

Json = Mapping[str, Any]
IMAGE_TOKENS = 64
_DIRECTIVE = re.compile(r"\[\[(crash|hang|sleep|tokens|error)(?: ([\d.]+))?\]\]\s*")
_SAY = re.compile(r"\[\[say (.*?)\]\]\s*", re.DOTALL)
_CALL = re.compile(r"call:([\w.-]+)\s*(?=\{)")


class Refused(Exception):
    """The request is answered with this error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """A tool call. `arguments` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Script:
    """A whole answer. `crash_after` and `hang_after` count tokens; None means never."""

    prompt: Sequence[str]
    prompt_tokens: int
    tokens: Sequence[str]
    calls: Sequence[Call] = ()
    finish_reason: str = "stop"
    stop_reason: str | None = None
    sleep_s: float = 0.0
    crash_after: int | None = None
    hang_after: int | None = None

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens) + sum(1 + len(tokens_of(call.arguments)) for call in self.calls)


def of_chat(body: Json, options: Options) -> Script:
    """Return the answer to a chat. It answers the last message of a user, or of anybody as a guard model."""
    messages = body["messages"]
    prompt = tokens_of("\n".join(f"{message['role']}: {_text(message)}" for message in messages))
    images = sum(_images(message) for message in messages)
    answered = messages if options.guard else [it for it in messages if it["role"] == "user"]
    question = _with_images(_text(answered[-1]), _images(answered[-1])) if answered else ""
    return _script(body, options, prompt, len(prompt) + IMAGE_TOKENS * images, question)


def of_completion(body: Json, options: Options) -> Script:
    given = body["prompt"]
    text = given if isinstance(given, str) else "".join(given)
    prompt = tokens_of(text)
    return _script(body, options, prompt, len(prompt), text)


def _script(body: Json, options: Options, prompt: Sequence[str], prompt_tokens: int, question: str) -> Script:
    orders = {match[1]: match[2] for match in _DIRECTIVE.finditer(question)}
    if "error" in orders:
        raise Refused(int(orders["error"] or 500), "the prompt asked for this error")
    scripted = _SAY.search(question)
    question = _SAY.sub("", _DIRECTIVE.sub("", question)).strip()
    limit = _limit(body, options, prompt_tokens)
    calls = _calls(body, question)
    answer = (
        scripted[1]
        if scripted
        else ""
        if calls
        else _answer(body, options, question, int(orders.get("tokens") or 0))
    )
    text, stop_reason = _cut_at_stop(answer, body.get("stop") or ())
    tokens = tokens_of(text)
    cut = len(tokens) > limit
    return Script(
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        tokens=tokens[:limit],
        calls=calls,
        finish_reason="length" if cut else "tool_calls" if calls else "stop",
        stop_reason=None if cut else stop_reason,
        sleep_s=float(orders.get("sleep") or 0),
        crash_after=_after(orders, "crash", options.crash_after_tokens),
        hang_after=_after(orders, "hang", options.hang_after_tokens),
    )


def _limit(body: Json, options: Options, prompt_tokens: int) -> int:
    """Return how many tokens the answer may have.

    Raises Refused, in vLLM's words, if the context is too short.
    """
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    room = options.context_length - prompt_tokens
    if room >= (asked or 1):
        return asked or room
    raise Refused(
        400,
        f"This model's maximum context length is {options.context_length} tokens. However, you requested "
        f"{asked or 1} output tokens and your prompt contains {prompt_tokens} input tokens.",
    )


def _after(orders: Mapping[str, str | None], name: str, option: int) -> int | None:
    return int(orders[name] or 1) if name in orders else option or None


def _answer(body: Json, options: Options, question: str, count: int) -> str:
    if options.guard:
        return "unsafe\nS1" if "UNSAFE" in question else "safe"
    if (constrained := _constrained(body, question)) is not None:
        return constrained
    if count:
        return invented(count, 0)
    if (body.get("temperature") or 0) > 0 and body.get("seed") is not None:
        question = f"{question} {invented(4, body['seed'])}"
    before, mark, thought = question.partition("think:")
    if not mark:
        return question
    thought, _, answer = thought.partition(";")
    return f"<think>{thought.strip()}</think>{before}{answer.strip() or thought.strip()}"


def _constrained(body: Json, question: str) -> str | None:
    wanted: Json = body.get("response_format") or {}
    structured: Json = body.get("structured_outputs") or {}
    pattern = structured.get("regex") or wanted.get("pattern")
    if pattern is not None:
        return _matching(pattern, question)
    if wanted.get("type") == "json_object":
        return msgspec.json.encode({"answer": question}).decode()
    schema = structured.get("json") or wanted.get("json_schema", {}).get("schema")
    return None if schema is None else _least(schema, question)


def _least(schema: Json, question: str) -> str:
    try:
        return msgspec.json.encode(minimal(schema, question)).decode()
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Refused(400, f"The JSON schema cannot be enforced: {error}.") from error


def _matching(pattern: str, question: str) -> str:
    """Return the first text that matches the pattern, out of the question's words and a few usual answers."""
    for candidate in (
        *question.split(),
        question,
        "yes",
        "no",
        "0",
        "42",
        "a",
        "A",
        "2026-11-21",
        "a@b.io",
        "",
    ):
        if re.fullmatch(pattern, candidate):
            return candidate
    raise Refused(400, "echo knows no text that matches this regex; put one into the prompt")


def _calls(body: Json, question: str) -> list[Call]:
    functions = [tool["function"] for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if not functions or choice == "none":
        return []
    if isinstance(choice, dict):
        functions = [function for function in functions if function["name"] == choice["function"]["name"]]
        return [_invented_call(functions[0], question)]
    written = [Call(match[1], _object_at(question, match.end())) for match in _CALL.finditer(question)]
    return written or ([_invented_call(functions[0], question)] if choice == "required" else [])


def _invented_call(function: Json, question: str) -> Call:
    return Call(function["name"], _least(function.get("parameters") or {}, question))


def _object_at(text: str, start: int) -> str:
    """Return the JSON object that begins at `start`. It counts braces, so strings in it must not hold any."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start : index + 1]
    return text[start:]


def _cut_at_stop(text: str, stop: str | Sequence[str]) -> tuple[str, str | None]:
    stops = [stop] if isinstance(stop, str) else stop
    found = [(text.index(one), one) for one in stops if one in text]
    return (text[: min(found)[0]], min(found)[1]) if found else (text, None)


def _parts(message: Json) -> Sequence[Json]:
    content = message.get("content") or ""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: Json) -> str:
    return " ".join(part["text"] for part in _parts(message) if part["type"] == "text")


def _images(message: Json) -> int:
    return sum(part["type"] == "image_url" for part in _parts(message))


def _with_images(question: str, images: int) -> str:
    return f"{question} [{images} image{'s' * (images > 1)}]" if images else question
