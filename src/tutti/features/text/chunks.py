"""Writes the chunks of streamed answers, each of them a server-sent event.

There are four writers: chat and completions, in Together's shape and in OpenAI's. What goes in is a delta
with the index of its choice; what comes out are the bytes of one or more events, `data: {...}` and an empty
line each.
The rules by which the two APIs differ:

- Together's clients get one token a chunk, with its id and log probability beside it, the role in every
  chunk, and the usage in the chunk of the last `finish_reason`;
- OpenAI's clients join strings that are repeated, so the role comes once a choice, and the id and the name
  once a tool call. Usage comes only if the request has `stream_options.include_usage`, in a last chunk
  without choices.

The bytes `[DONE]` that end a stream are sent by `delivery`. This runs for every token, so keep it lean.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from msgspec import UNSET, Struct, UnsetType

from tutti.engines.answers import Delta, FinishReason, Token, ToolCall, Usage
from tutti.features.text import shapes
from tutti.features.text.shapes import AnswerForm, InferenceWarning, PromptPiece, UsageData

DONE = b"data: [DONE]\n\n"


class Ending(Struct, frozen=True):
    """The facts about the whole answer that go into its last chunk, or into its body."""

    usage: Usage
    warnings: Sequence[str] = ()


class Frames(Protocol):
    """Writes the events of one stream."""

    def frame(self, index: int, delta: Delta, ending: Ending | None = None) -> bytes:
        """Return the events for a delta of the choice number `index`.

        `ending` comes with the delta that finishes the last choice.
        """
        ...


def chat_frames(form: AnswerForm) -> Frames:
    return OpenAIChatFrames(form) if form.openai else ChatFrames(form)


def completion_frames(form: AnswerForm) -> Frames:
    return OpenAICompletionFrames(form) if form.openai else CompletionFrames(form)


# --- chat -------------------------------------------------------------------------------------------------


class ChatDelta(Struct, omit_defaults=True, gc=False):
    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning: str | UnsetType = UNSET
    token_id: int | UnsetType = UNSET
    tool_calls: list[shapes.ToolCallPart] | UnsetType = UNSET
    function_call: shapes.FunctionPart | UnsetType = UNSET


class ChatChoice(Struct, gc=False):
    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None
    logprobs: float | dict[str, Any] | UnsetType | None = UNSET
    top_logprobs: dict[str, float] | UnsetType = UNSET
    seed: int | UnsetType = UNSET


class TokenData(Struct, gc=False):
    id: int
    text: str
    logprob: float
    special: bool


class ChatChunk(Struct, gc=False):
    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice]
    token: TokenData | UnsetType = UNSET
    usage: UsageData | UnsetType | None = UNSET
    warnings: list[InferenceWarning] | UnsetType = UNSET
    prompt: list[PromptPiece] | UnsetType = UNSET


class ChatFrames:
    """Writes Together's chunks: the role in every delta, one token a chunk, usage with the last
    finish_reason."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form

    def frame(self, index: int, delta: Delta, ending: Ending | None = None) -> bytes:
        pieces = shapes.one_token_each(delta)
        if len(pieces) == 1:
            return _event(self._chunk(index, delta, ending))
        chunks = [self._chunk(index, piece) for piece in pieces[:-1]]
        return _events([*chunks, self._chunk(index, pieces[-1], ending)])

    def _chunk(self, index: int, delta: Delta, ending: Ending | None = None) -> ChatChunk:
        form = self._form
        token = delta.tokens[0] if delta.tokens else None
        choice = ChatChoice(index, self._delta(delta, token), delta.finish_reason, seed=form.seed(index))
        if token and form.logprobs == "lists":
            choice.logprobs, choice.top_logprobs = token.logprob, shapes.top(token) or UNSET
        elif token and form.logprobs == "content":
            choice.logprobs = shapes.content((token,))
        chunk = ChatChunk(form.id, "chat.completion.chunk", form.created, form.model, [choice], usage=None)
        if token and token.id is not None:
            chunk.token = TokenData(token.id, token.text, token.logprob or 0.0, special=False)
        if delta.prompt is not None:
            chunk.prompt = [_prompt_piece(delta, form)]
        if ending:
            chunk.usage, chunk.warnings = _usage(ending, form), _warnings(ending)
        return chunk

    def _delta(self, delta: Delta, token: Token | None) -> ChatDelta:
        body = ChatDelta("assistant", delta.text)
        if token and token.id is not None:
            body.token_id = token.id
        if delta.reasoning:
            body.reasoning = delta.reasoning
        if delta.tool_calls:
            _add_calls(body, delta.tool_calls, self._form)
        return body


class OpenAIChatFrames:
    """Writes OpenAI's chunks: the role comes once for each choice, and usage has a chunk of its own."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form
        self._begun: set[int] = set()

    def frame(self, index: int, delta: Delta, ending: Ending | None = None) -> bytes:
        form = self._form
        choice = ChatChoice(index, self._delta(index, delta), form.reason(delta.finish_reason), logprobs=None)
        if form.logprobs == "content" and delta.tokens:
            choice.logprobs = shapes.content(delta.tokens)
        elif form.logprobs == "lists" and delta.tokens:
            choice.logprobs, choice.top_logprobs = delta.tokens[-1].logprob, shapes.top(delta.tokens[-1])
        chunk = self._chunk([choice])
        if delta.prompt is not None:
            chunk.prompt = [_prompt_piece(delta, form)]
        if not ending:
            return _event(chunk)
        chunk.warnings = _warnings(ending)
        if not form.include_usage:
            return _event(chunk)
        last = self._chunk([])
        last.usage = _usage(ending, form)
        return _events([chunk, last])

    def _chunk(self, choices: list[ChatChoice]) -> ChatChunk:
        form = self._form
        usage = None if form.include_usage else UNSET
        return ChatChunk(form.id, "chat.completion.chunk", form.created, form.model, choices, usage=usage)

    def _delta(self, index: int, delta: Delta) -> ChatDelta:
        body = ChatDelta()
        if index not in self._begun:
            self._begun.add(index)
            body.role, body.content = "assistant", None if delta.tool_calls else ""
        if delta.text:
            body.content = delta.text
        if delta.reasoning:
            body.reasoning = delta.reasoning
        if delta.tool_calls:
            _add_calls(body, delta.tool_calls, self._form)
        return body


def _add_calls(body: ChatDelta, calls: Sequence[ToolCall], form: AnswerForm) -> None:
    body.content = None if not form.openai else body.content
    if form.legacy_functions:
        piece = calls[0]
        absent: Any = UNSET if form.openai else ""
        body.function_call = shapes.FunctionPart(piece.name or absent, piece.arguments)
    else:
        body.tool_calls = [shapes.tool_call(piece, form.openai) for piece in calls]


# --- completions ------------------------------------------------------------------------------------------


class CompletionDelta(Struct, gc=False):
    role: str
    content: str
    token_id: int | UnsetType = UNSET


class CompletionChoice(Struct, gc=False):
    index: int
    text: str
    delta: CompletionDelta | UnsetType = UNSET
    logprobs: shapes.LogprobsPart | UnsetType | None = UNSET
    finish_reason: FinishReason | None = None


class CompletionChunk(Struct, gc=False):
    id: str
    object: str
    created: int
    model: str
    choices: list[CompletionChoice]
    token: TokenData | UnsetType = UNSET
    usage: UsageData | UnsetType | None = UNSET
    finish_reason: FinishReason | UnsetType | None = UNSET
    seed: int | UnsetType = UNSET
    warnings: list[InferenceWarning] | UnsetType = UNSET
    prompt: list[PromptPiece] | UnsetType = UNSET


class CompletionFrames:
    """Writes Together's chunks. Each must have a token; where the engine names none, its id is 0."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form

    def frame(self, index: int, delta: Delta, ending: Ending | None = None) -> bytes:
        pieces = shapes.one_token_each(delta)
        if len(pieces) == 1:
            return _event(self._chunk(index, delta, ending))
        chunks = [self._chunk(index, piece) for piece in pieces[:-1]]
        return _events([*chunks, self._chunk(index, pieces[-1], ending)])

    def _chunk(self, index: int, delta: Delta, ending: Ending | None = None) -> CompletionChunk:
        form = self._form
        token = delta.tokens[0] if delta.tokens else Token(delta.text)
        token_id = UNSET if token.id is None else token.id
        choice = CompletionChoice(index, delta.text, CompletionDelta("assistant", delta.text, token_id))
        choice.finish_reason = delta.finish_reason
        if form.logprobs and delta.tokens:
            choice.logprobs = shapes.lists(delta.tokens)
        chunk = CompletionChunk(form.id, "completion.chunk", form.created, form.model, [choice])
        chunk.token = TokenData(token.id or 0, token.text, token.logprob or 0.0, special=False)
        chunk.usage, chunk.finish_reason, chunk.seed = None, delta.finish_reason, form.seed(index)
        if delta.prompt is not None:
            chunk.prompt = [_prompt_piece(delta, form)]
        if ending:
            chunk.usage, chunk.warnings = _usage(ending, form), _warnings(ending)
        return chunk


class OpenAICompletionFrames:
    """Writes OpenAI's chunks: an echoed prompt is part of the text."""

    def __init__(self, form: AnswerForm) -> None:
        self._form = form
        self._lengths: dict[int, int] = {}

    def frame(self, index: int, delta: Delta, ending: Ending | None = None) -> bytes:
        form = self._form
        text = (delta.prompt or "") + delta.text
        choice = CompletionChoice(index, text, logprobs=None, finish_reason=form.reason(delta.finish_reason))
        start = self._lengths.get(index, 0)
        self._lengths[index] = start + len(text)
        if form.logprobs:
            choice.logprobs = shapes.offset_lists((*delta.prompt_tokens, *delta.tokens), start)
        chunk = self._chunk([choice])
        if not ending:
            return _event(chunk)
        chunk.warnings = _warnings(ending)
        if not form.include_usage:
            return _event(chunk)
        last = self._chunk([])
        last.usage = _usage(ending, form)
        return _events([chunk, last])

    def _chunk(self, choices: list[CompletionChoice]) -> CompletionChunk:
        form = self._form
        usage = None if form.include_usage else UNSET
        return CompletionChunk(form.id, "text_completion", form.created, form.model, choices, usage=usage)


# --- both -------------------------------------------------------------------------------------------------


def _event(chunk: Struct) -> bytes:
    return b"data: %b\n\n" % shapes.encode(chunk)


def _events(chunks: Iterable[Struct]) -> bytes:
    return b"".join(map(_event, chunks))


def _usage(ending: Ending, form: AnswerForm) -> UsageData:
    return shapes.usage_data(ending.usage, form.openai)


def _warnings(ending: Ending) -> list[InferenceWarning] | UnsetType:
    return [InferenceWarning(message) for message in ending.warnings] or UNSET


def _prompt_piece(delta: Delta, form: AnswerForm) -> PromptPiece:
    return shapes.prompt_piece(delta.prompt or "", delta.prompt_tokens, form.logprobs is not None)
