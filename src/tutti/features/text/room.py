"""Refuses prompts that can never fit the context of their model, before anything works on them.

To count the tokens of a text takes time and memory, the more the longer it is. So this counts only messages
and bytes: a message has at least one token, and a token has at most `MOST_BYTES_A_TOKEN` bytes.
"""

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
    """Raise ContextTooLong if a chat can never fit the context of `model`."""
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
    """Raise ContextTooLong if one of the prompts can never fit the context of `model`."""
    for prompt in prompts:
        size = len(prompt.encode() if isinstance(prompt, str) else prompt)
        _require_few(size, "the prompt has", "prompt", model.context_length)


def _require_few(size: int, what_has: str, param: str, context: int) -> None:
    if context and size > context * MOST_BYTES_A_TOKEN:
        raise ContextTooLong(f"{what_has} {size} bytes, more than can fit.", context=context, param=param)


def _size(message: Json) -> int:
    """Return the bytes that all text of a message has as JSON."""
    return sum(map(len, map(msgspec.json.encode, _values_of_text(message))))


def _values_of_text(message: Json) -> Iterator[Any]:
    """Yield the values of a message's fields, without media."""
    for name, value in message.items():
        if name == "content" and isinstance(value, list):
            yield from (part["text"] for part in cast(list[Json], value) if part["type"] == "text")
        else:
            yield value
