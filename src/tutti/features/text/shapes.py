"""The parts that streamed and whole answers have in common, in Together's shape and in OpenAI's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tutti.engines.answers import Delta, FinishReason, Token, ToolCall, Usage

_OPENAI_REASONS: dict[FinishReason, FinishReason] = {"eos": "stop"}

LogprobsShape = Literal["lists", "content"]
"""Parallel lists (the request has a number in `logprobs`), or OpenAI's `content` (it has `true`)."""

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class AnswerForm:
    """The form of an answer: its constant fields, and the options of the request that change its shape.

    `model` is the name by which the client called the model. `seeds` has one seed for each choice.
    """

    id: str
    created: int
    model: str
    openai: bool
    logprobs: LogprobsShape | None
    seeds: Sequence[int | None]
    legacy_functions: bool = False
    include_usage: bool = False
    choices_per_prompt: int = 1

    def reason(self, reason: FinishReason | None) -> FinishReason | None:
        return _OPENAI_REASONS.get(reason, reason) if self.openai and reason else reason

    def seed(self, index: int) -> int | UnsetType:
        seed = None if self.openai else self.seeds[index]
        return UNSET if seed is None else seed


class InferenceWarning(Struct):
    message: str


class Details(Struct):
    cached_tokens: int


class UsageData(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Details | UnsetType = UNSET


class FunctionPart(Struct):
    name: str | UnsetType
    arguments: str


class ToolCallPart(Struct):
    index: int
    id: str | UnsetType
    type: str | UnsetType
    function: FunctionPart


class LogprobsPart(Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    token_ids: list[int] | UnsetType = UNSET
    top_logprobs: dict[str, float] | list[dict[str, float] | None] | UnsetType = UNSET
    text_offset: list[int] | UnsetType = UNSET


class PromptPiece(Struct):
    text: str
    logprobs: LogprobsPart | UnsetType = UNSET


def encode(body: Struct) -> bytes:
    return _encoder.encode(body)


def usage_data(usage: Usage, openai: bool) -> UsageData:
    total = usage.prompt_tokens + usage.completion_tokens
    details = Details(usage.cached_tokens) if openai else UNSET
    return UsageData(usage.prompt_tokens, usage.completion_tokens, total, details)


def tool_call(piece: ToolCall, openai: bool) -> ToolCallPart:
    """Return a piece of a tool call as an answer has it.

    In Together's shape every field is there, empty on all but the first piece of a call. OpenAI's clients
    join what is repeated, so there it is left out.
    """
    first = bool(piece.name)
    absent: Any = UNSET if openai else ""
    return ToolCallPart(
        index=piece.index,
        id=piece.id if first else absent,
        type="function" if first or not openai else UNSET,
        function=FunctionPart(piece.name if first else absent, piece.arguments),
    )


def top(token: Token) -> dict[str, float]:
    """Return the log probability of each of the most likely tokens at this place, by their text."""
    return {likely.text: likely.logprob for likely in token.top}


def lists(tokens: Sequence[Token]) -> LogprobsPart:
    """Return Together's log probabilities: as in the contract, one object of alternatives for all places."""
    best: dict[str, float] = {}
    for token in tokens:
        for text, logprob in top(token).items():
            best[text] = max(logprob, best.get(text, logprob))
    ids = [token.id for token in tokens if token.id is not None]
    return LogprobsPart(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        token_ids=ids if len(ids) == len(tokens) else UNSET,
        top_logprobs=best or UNSET,
    )


def offset_lists(tokens: Sequence[Token], start: int) -> LogprobsPart:
    """Return OpenAI's log probabilities of a completion: alternatives for each position, and the offset in
    the text at which each token begins. `start` is the offset of the first one."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(start)
        start += len(token.text)
    return LogprobsPart(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[top(token) or None for token in tokens],
        text_offset=offsets,
    )


def content(tokens: Sequence[Token]) -> dict[str, Any]:
    """Return OpenAI's log probabilities of a chat completion."""
    return {"content": [_content_item(token) for token in tokens], "refusal": None}


def _content_item(token: Token) -> dict[str, Any]:
    alternatives = [_scored(likely.text, likely.logprob, likely.raw) for likely in token.top]
    return {**_scored(token.text, token.logprob, token.raw), "top_logprobs": alternatives}


def _scored(text: str, logprob: float | None, raw: bytes | None) -> dict[str, Any]:
    least = -9999.0  # OpenAI's value for a token that is too unlikely to have one
    return {
        "token": text,
        "logprob": least if logprob is None else logprob,
        "bytes": list(text.encode() if raw is None else raw),
    }


def prompt_piece(text: str, tokens: Sequence[Token], logprobs: bool) -> PromptPiece:
    known = logprobs and any(token.logprob is not None for token in tokens)
    return PromptPiece(text, lists(tokens) if known else UNSET)


def one_token_each(delta: Delta) -> Sequence[Delta]:
    """Split a delta into deltas of one token each, as many as a chunk of Together's has room for.

    If the texts of the tokens don't add up to the text of the delta, the last one has all of it.
    """
    if len(delta.tokens) < 2:
        return (delta,)
    texts = [token.text for token in delta.tokens]
    if "".join(texts) != (delta.reasoning or delta.text):
        texts = [""] * (len(texts) - 1) + [delta.reasoning or delta.text]
    thinks = bool(delta.reasoning)
    pieces = [
        Delta(tokens=(token,), reasoning=text) if thinks else Delta(tokens=(token,), text=text)
        for token, text in zip(delta.tokens, texts, strict=True)
    ]
    pieces[0] = msgspec.structs.replace(pieces[0], prompt=delta.prompt, prompt_tokens=delta.prompt_tokens)
    pieces[-1] = msgspec.structs.replace(
        pieces[-1], tool_calls=delta.tool_calls, finish_reason=delta.finish_reason, usage=delta.usage
    )
    return pieces
