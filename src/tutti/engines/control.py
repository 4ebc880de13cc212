"""Control tokens that a client wrote into a text of a request. They are text: only the template's own are
tokens.

The engine itself tells which tokens its model has, so every family of templates is covered. A text that has a
control token is split within it: the halves are tokenised one by one, or a space without width is put between
them.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import msgspec

from tutti.engines.calls import ChatCall, Json

ESCAPE = "\u200b"
"""A space without width. With it inside, a control token is read as the letters that it is written with."""

MEDIA = frozenset({"image_url", "input_audio", "audio_url", "video_url"})
_MARKS = re.compile(r"[<\[\]|｜]")
"""Characters, one of which is in every control token that there is: most texts need no closer look."""
_LIKE_CONTROL = re.compile(r"<[^<>\n]{1,64}>|\[[^\[\]\n]{1,64}\]")


def texts_of(call: ChatCall) -> list[str]:
    """Return everything that the client wrote and the template may show to the model."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    changed(call, keep)
    return found


def suspicious(texts: Sequence[str]) -> bool:
    return any(map(_MARKS.search, texts))


def control_like(text: str) -> set[str]:
    """Return what looks like a control token, whether or not it is one."""
    return set(_LIKE_CONTROL.findall(text))


def is_control_like(token: str) -> bool:
    return bool(_LIKE_CONTROL.fullmatch(token))


def splitter(words: Collection[str], mark: str) -> Callable[[str], str]:
    """Return a function that puts `mark` behind the first character of each of the words in a text, also
    where they overlap."""
    longest_first = sorted((word for word in words if len(word) > 1), key=len, reverse=True)
    if not longest_first:
        return str
    begins = re.compile(f"(?=(?:{'|'.join(map(re.escape, longest_first))}))(.)", re.S)
    return lambda text: begins.sub(rf"\g<1>{mark}", text)


def changed(call: ChatCall, change: Callable[[str], str]) -> ChatCall:
    """Return the call with every text of the client changed."""
    return msgspec.structs.replace(
        call,
        messages=[_message(message, change) for message in call.messages],
        tools=[_mapped(tool, change) for tool in call.tools],
        template_kwargs=_mapped(call.template_kwargs, change),
    )


def _message(message: Json, change: Callable[[str], str]) -> Json:
    mapped = {name: value if name == "role" else _mapped(value, change) for name, value in message.items()}
    if isinstance(message.get("content"), list):
        mapped["content"] = [
            part if part.get("type") in MEDIA else _mapped(part, change) for part in message["content"]
        ]
    if "tool_calls" in message:
        mapped["tool_calls"] = [_tool_call(call, change) for call in message["tool_calls"]]
    return mapped


def _tool_call(call: Json, change: Callable[[str], str]) -> Json:
    """Change the texts in a call. Its arguments are the text of a JSON object, but templates show the object
    itself, its escapes resolved."""
    function: Json = call["function"]
    arguments = msgspec.json.decode(function["arguments"])
    mapped = _mapped(arguments, change)
    written = function["arguments"] if mapped == arguments else msgspec.json.encode(mapped).decode()
    changed_function = {"name": change(function["name"]), "arguments": written}
    return {**call, "id": change(call["id"]), "function": changed_function}


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    return {change(key): _mapped(item, change) for key, item in cast(Json, value).items()}
