"""Answers of engines: pieces of texts, vectors and scores.

The pieces are made for every token, and are never part of a cycle: with `gc=False` the collector need not
look for one.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

FinishReason = Literal["stop", "eos", "length", "tool_calls", "function_call"]


class TopToken(msgspec.Struct, frozen=True, gc=False):
    text: str
    logprob: float
    id: int | None = None
    raw: bytes | None = None


class Token(msgspec.Struct, frozen=True, gc=False):
    """A token of a prompt or an answer. `logprob` is None where the call did not ask for it or it cannot be
    had. `raw` are the bytes of a token that is only a part of a character; the last token of the character
    has the text."""

    text: str
    id: int | None = None
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()
    raw: bytes | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call of a tool, or in a stream a piece of one: `id` and `name` come with the first piece of an
    index."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Delta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of one choice. `finish_reason` ends it, `prompt` (echo) begins it. `usage` is what was used so
    far: engines that count as they go give it with every piece, the others at the end."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    prompt: str | None = None
    prompt_tokens: tuple[Token, ...] = ()


class Embeddings(msgspec.Struct, frozen=True):
    """Embeddings of texts: `vectors[i]` belongs to input i, as little-endian float32 bytes."""

    vectors: Sequence[bytes]
    prompt_tokens: int


class Scores(msgspec.Struct, frozen=True):
    """Relevance of documents: `scores[i]` belongs to document i, and higher is more relevant."""

    scores: Sequence[float]
    prompt_tokens: int
