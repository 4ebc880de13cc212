"""Answers of servers that speak OpenAI's dialect: OpenAI itself, vLLM, Together and the many like them.

Only the fields that a Delta is made of are decoded. The servers differ in where they put token ids, reasoning
and log-probabilities; every place known is read, so that one set of types serves them all.
"""

import struct
from base64 import b64decode
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import msgspec

from tutti.base.errors import Unavailable
from tutti.engines.answers import Delta, Embeddings, FinishReason, Token, TopToken, Usage
from tutti.engines.openai_errors import ErrorBody

_T = TypeVar("_T")


class TopEntry(msgspec.Struct, gc=False):
    token: str
    logprob: float = 0.0


class Entry(TopEntry, gc=False):
    top_logprobs: list[TopEntry] | None = None


class Logprobs(msgspec.Struct, gc=False):
    """Log probabilities in two forms: `content` is OpenAI's for chats, the other fields are its older form
    for completions. There Together has one object of alternatives, whatever the number of tokens."""

    content: list[Entry] | None = None
    tokens: list[str] | None = None
    token_ids: list[int] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | dict[str, float] | None = None


class Function(msgspec.Struct, gc=False):
    """The function of a call. Some servers write the arguments as an object rather than as its text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None

    @property
    def written(self) -> str:
        given = self.arguments
        return (
            given if isinstance(given, str) else "" if given is None else msgspec.json.encode(given).decode()
        )


class ToolCallPart(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """A whole message, or the `delta` of one."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallPart] | None = None
    token_id: int | None = None


class PromptEntry(msgspec.Struct):
    logprob: float
    decoded_token: str | None = None


PromptLogprobs = list[dict[str, PromptEntry] | None]


class Choice(msgspec.Struct, gc=False):
    text: str | None = None
    delta: Message | None = None
    message: Message | None = None
    logprobs: Logprobs | float | None = None
    top_logprobs: dict[str, float] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | msgspec.UnsetType | None = msgspec.UNSET
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: PromptLogprobs | None = None


class CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class UsageCounts(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = None
    prompt_tokens_details: CachedTokens | None = None

    def counted(self) -> Usage:
        details = self.prompt_tokens_details
        return Usage(
            self.prompt_tokens, self.completion_tokens or 0, (details and details.cached_tokens) or 0
        )


class Answer(msgspec.Struct, gc=False):
    """A whole answer, or one chunk of a stream."""

    choices: list[Choice] = []
    usage: UsageCounts | None = None
    error: ErrorBody | str | None = None
    prompt_text: str | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: PromptLogprobs | None = None


class Embedding(msgspec.Struct):
    embedding: str | list[float]
    index: int = 0


class CountedPrompt(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingAnswer(msgspec.Struct):
    data: list[Embedding]
    usage: CountedPrompt = CountedPrompt()


class RerankResult(msgspec.Struct):
    index: int
    relevance_score: float


class RerankAnswer(msgspec.Struct):
    results: list[RerankResult]
    usage: CountedPrompt = CountedPrompt()


class Tokenized(msgspec.Struct):
    token_strs: list[str] = []


_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "eos",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "function_call",
    "content_filter": "stop",
}


def decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise _unreadable() from error


_decoder = msgspec.json.Decoder(Answer)


def read_answer(data: bytes) -> Answer:
    """Decode an answer or a chunk. This runs once a token."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise _unreadable() from error


def _unreadable() -> Unavailable:
    return Unavailable("The model's engine sent an answer that cannot be read.", retry_after_s=1)


def delta_of(choice: Choice) -> Delta | None:
    """Return what the choice brings besides calls and its end; None where that is nothing."""
    message = choice.delta or choice.message or Message()
    text = choice.text if choice.text is not None else message.content or ""
    reasoning = message.reasoning or message.reasoning_content or ""
    tokens = _tokens(choice, message, reasoning + text)
    if not (text or reasoning or tokens):
        return None
    return Delta(text=text, reasoning=reasoning, tokens=tokens)


def calls_of(choice: Choice) -> Sequence[ToolCallPart]:
    """Return the pieces of calls that the choice brings."""
    message = choice.delta or choice.message
    return (message and message.tool_calls) or ()


def finish_of(choice: Choice) -> FinishReason | None:
    """Return the reason to finish. vLLM's `stop_reason` tells a stop sequence (its text) from the model's own
    end (null)."""
    if choice.finish_reason is None:
        return None
    reason = _FINISH.get(choice.finish_reason)
    if reason is None:
        raise Unavailable(f"The model's engine gave up: {choice.finish_reason}.", retry_after_s=1)
    return "eos" if reason == "stop" and choice.stop_reason is None else reason


def _tokens(choice: Choice, message: Message, text: str) -> tuple[Token, ...]:
    ids = choice.token_ids or ([] if message.token_id is None else [message.token_id])
    if isinstance(choice.logprobs, Logprobs):
        return _with_logprobs(choice.logprobs, ids)
    logprob, top = choice.logprobs, _ranked(choice.top_logprobs)
    if not ids:
        return () if logprob is None else (Token(text, None, logprob, top),)
    # Which letters belong to which of several tokens is not known: the first gets them all.
    return (Token(text, ids[0], logprob, top), *(Token("", token_id) for token_id in ids[1:]))


def _with_logprobs(logprobs: Logprobs, ids: Sequence[int]) -> tuple[Token, ...]:
    if logprobs.content is not None:
        known = ids if len(ids) == len(logprobs.content) else ()
        return tuple(
            Token(entry.token, _at(known, place), entry.logprob, _top(entry.top_logprobs))
            for place, entry in enumerate(logprobs.content)
        )
    texts = logprobs.tokens or []
    known = logprobs.token_ids or ids
    known = known if len(known) == len(texts) else ()
    values, tops = logprobs.token_logprobs or (), logprobs.top_logprobs or ()
    if isinstance(tops, dict):  # nor is it which alternatives belong to which
        tops = (tops,)
    return tuple(
        Token(text, _at(known, place), _at(values, place), _ranked(_at(tops, place)))
        for place, text in enumerate(texts)
    )


def _at(items: Sequence[_T], place: int) -> _T | None:
    return items[place] if place < len(items) else None


def _ranked(top: dict[str, float] | None) -> tuple[TopToken, ...]:
    return tuple(TopToken(text, logprob) for text, logprob in (top or {}).items())


def _top(entries: Sequence[TopEntry] | None) -> tuple[TopToken, ...]:
    return tuple(TopToken(entry.token, entry.logprob) for entry in entries or ())


def embeddings_of(data: bytes) -> Embeddings:
    """Return the vectors in the order of the inputs, whatever the order of the answer."""
    answer = decode(data, EmbeddingAnswer)
    items = sorted(answer.data, key=lambda item: item.index)
    return Embeddings([vector_of(item.embedding) for item in items], answer.usage.prompt_tokens)


def vector_of(embedding: str | Sequence[float]) -> bytes:
    """Return little-endian float32, from base64 of the same or from numbers."""
    if isinstance(embedding, str):
        return b64decode(embedding)
    return struct.pack(f"<{len(embedding)}f", *embedding)


def prompt_of(answer: Answer, text: str | None) -> Delta:
    """Return the prompt as vLLM gives it with `prompt_logprobs`; `text` where the caller knows it already."""
    choice = answer.choices[0]
    ids = answer.prompt_token_ids or choice.prompt_token_ids or []
    rows = answer.prompt_logprobs or choice.prompt_logprobs or []
    tokens = [_prompt_token(token_id, row or {}) for token_id, row in zip_longest(ids, rows)]
    text = answer.prompt_text or text or ""
    after_first = "".join(token.text for token in tokens[1:])
    if tokens and text.endswith(
        after_first
    ):  # nothing predicts the first token, so it comes without its text
        tokens[0] = Token(text[: len(text) - len(after_first)], tokens[0].id)
    return Delta(prompt=text, prompt_tokens=tuple(tokens))


def _prompt_token(token_id: int | None, row: dict[str, PromptEntry]) -> Token:
    top = tuple(TopToken(entry.decoded_token or "", entry.logprob, int(key)) for key, entry in row.items())
    own = row.get(str(token_id))
    if own is None:
        return Token("", token_id)
    return Token(own.decoded_token or "", token_id, own.logprob, top)
