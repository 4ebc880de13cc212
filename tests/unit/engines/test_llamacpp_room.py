"""Texts that are far too long are told by their beginning, and not read to their end."""

import pytest
from tests.support.engines import chat, completion, model

from tutti.base.errors import ContextTooLong
from tutti.engines.llamacpp_room import first_tokens, require_room, texts_of

CONTEXT = 100
MODEL = model(options={"context": CONTEXT})


class Vocabulary:
    """Whose tokens have so many characters, and which remembers how much it has read."""

    def __init__(self, chars: int) -> None:
        self._chars = chars
        self.read = 0

    async def count(self, text: str) -> range:
        self.read += len(text)
        return range(-(-len(text) // self._chars))


@pytest.mark.parametrize("chars", [1, 4, 16, 128])
async def test_of_a_text_far_too_long_little_is_read(chars: int) -> None:
    vocabulary = Vocabulary(chars)
    with pytest.raises(ContextTooLong, match=r"is 100 tokens\. However, the request has more than"):
        await require_room(vocabulary.count, completion(model=MODEL), "x" * 10_000_000)
    assert vocabulary.read <= max(8, 8 * chars) * CONTEXT


@pytest.mark.parametrize("chars", [1, 4, 16, 128])
async def test_no_text_that_fits_is_refused(chars: int) -> None:
    await require_room(Vocabulary(chars).count, completion(model=MODEL), "x" * chars * CONTEXT)


async def test_a_text_that_is_not_long_is_not_read() -> None:
    vocabulary = Vocabulary(1)
    await require_room(vocabulary.count, completion(model=MODEL), "x" * 8 * CONTEXT)
    assert vocabulary.read == 0


@pytest.mark.parametrize("size", [1, 800, 801, 10_000_000])
async def test_of_a_text_to_cut_at_least_what_fits_is_read(size: int) -> None:
    vocabulary = Vocabulary(16)
    ids = await first_tokens(vocabulary.count, "x" * size, CONTEXT)
    assert len(ids) == -(-size // 16) or len(ids) > CONTEXT
    assert vocabulary.read <= 100 * 16 * CONTEXT


def test_what_a_template_shows_counts_and_former_thoughts_do_not() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "described", "parameters": {}}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "asked"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "<think>thought</think>said", "tool_calls": [_call("argued")]},
        {"role": "user", "content": "mentions </think>"},
    ]
    text = texts_of(chat(model=MODEL, tools=[tool], messages=messages))
    assert all(word in text for word in ("asked", "said", "argued", "mentions", "described"))
    assert "thought" not in text


def _call(arguments: str) -> dict[str, object]:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
