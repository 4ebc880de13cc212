"""What can never fit a model's context is refused before anybody works on it: to count the tokens of a text
takes time and memory, the more the longer it is."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from tutti.base.errors import ContextTooLong
from tutti.base.model import Model
from tutti.engines.calls import Json
from tutti.features.inputs import MOST_BYTES_A_TOKEN


def require_room(
    messages: Sequence[Json], tools: Sequence[Json], template_kwargs: Json, model: Model
) -> None:
    """Raises ContextTooLong. A message takes a token at least, and a token has so many bytes at most."""
    context = model.context_length
    if not context:
        return
    if len(messages) > context:
        raise ContextTooLong(
            f"there are {len(messages)} messages, and each takes a token at least.", context=context
        )
    sizes = {
        "messages": sum(_size(message) for message in messages),
        "tools": len(msgspec.json.encode(tools)),
        "chat_template_kwargs": len(msgspec.json.encode(template_kwargs)),
    }
    for param, size in sizes.items():
        _require_few(size, f"`{param}` have", param, context)


def require_room_for_prompts(prompts: Sequence[str | Sequence[int]], model: Model) -> None:
    for prompt in prompts:
        size = len(prompt.encode() if isinstance(prompt, str) else prompt)
        _require_few(size, "the prompt has", "prompt", model.context_length)


def _require_few(size: int, what_has: str, param: str, context: int) -> None:
    if context and size > context * MOST_BYTES_A_TOKEN:
        raise ContextTooLong(f"{what_has} {size} bytes, more than can fit.", context=context, param=param)


def _size(message: Json) -> int:
    """Of all that is text in it."""
    return sum(map(len, map(msgspec.json.encode, _texts(message))))


def _texts(message: Json) -> Iterator[Any]:
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            yield from (part["text"] for part in cast(list[Json], value) if part["type"] == "text")
        else:
            yield value
