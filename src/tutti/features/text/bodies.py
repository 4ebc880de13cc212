"""Writes answers that are sent as a whole: deltas are collected into choices, and written at once."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from tutti.engines.answers import Delta, FinishReason, Token, ToolCall
from tutti.features.text import shapes
from tutti.features.text.chunks import Ending
from tutti.features.text.shapes import AnswerForm, InferenceWarning, PromptPiece, UsageData


class Collected:
    """One choice, put together from its deltas."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self.tokens: list[Token] = []
        self.finish_reason: FinishReason | None = None
        self.prompt: str | None = None
        self.prompt_tokens: Sequence[Token] = ()

    def add(self, delta: Delta) -> None:
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        self.tokens += delta.tokens
        self.finish_reason = delta.finish_reason or self.finish_reason
        for piece in delta.tool_calls:
            self._calls[piece.index] = _joined(self._calls.get(piece.index), piece)
        if delta.prompt is not None:
            self.prompt, self.prompt_tokens = delta.prompt, delta.prompt_tokens

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def calls(self) -> list[ToolCall]:
        return [self._calls[index] for index in sorted(self._calls)]


def _joined(call: ToolCall | None, piece: ToolCall) -> ToolCall:
    """Return a tool call with the piece of it that came next."""
    if call is None:
        return piece
    return ToolCall(
        call.index, call.id or piece.id, call.name or piece.name, call.arguments + piece.arguments
    )


class Message(Struct):
    role: str
    content: str | None
    reasoning: str | UnsetType = UNSET
    tool_calls: list[shapes.ToolCallPart] | UnsetType = UNSET
    function_call: shapes.FunctionPart | UnsetType = UNSET


class ChatChoice(Struct):
    index: int
    message: Message
    finish_reason: FinishReason | None
    logprobs: shapes.LogprobsPart | dict[str, Any] | UnsetType | None
    seed: int | UnsetType = UNSET


class CompletionChoice(Struct):
    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: shapes.LogprobsPart | UnsetType | None
    seed: int | UnsetType = UNSET


class Answer(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: Sequence[ChatChoice | CompletionChoice]
    usage: UsageData
    prompt: list[PromptPiece] | UnsetType = UNSET
    warnings: list[InferenceWarning] | UnsetType = UNSET


def chat(form: AnswerForm, choices: Sequence[Collected], ending: Ending) -> bytes:
    """Write the body of a chat completion."""
    written = [_chat_choice(form, index, choice) for index, choice in enumerate(choices)]
    return shapes.encode(_answer(form, "chat.completion", written, choices[:1], ending))


def completion(form: AnswerForm, choices: Sequence[Collected], ending: Ending) -> bytes:
    """Write the body of a completion. Choices of one prompt follow each other; each prompt is echoed once."""
    written = [_completion_choice(form, index, choice) for index, choice in enumerate(choices)]
    kind = "text_completion" if form.openai else "text.completion"
    return shapes.encode(_answer(form, kind, written, choices[:: form.choices_per_prompt], ending))


def _answer(
    form: AnswerForm,
    kind: str,
    written: Sequence[ChatChoice | CompletionChoice],
    echoed: Sequence[Collected],
    ending: Ending,
) -> Answer:
    usage = shapes.usage_data(ending.usage, form.openai)
    answer = Answer(form.id, kind, form.created, form.model, written, usage)
    if not form.openai or kind == "chat.completion":
        answer.prompt = [
            shapes.prompt_piece(choice.prompt, choice.prompt_tokens, form.logprobs is not None)
            for choice in echoed
            if choice.prompt is not None
        ]
    answer.warnings = [InferenceWarning(message) for message in ending.warnings] or UNSET
    return answer


def _chat_choice(form: AnswerForm, index: int, choice: Collected) -> ChatChoice:
    logprobs = None
    if form.logprobs == "content":
        logprobs = shapes.content(choice.tokens)
    elif form.logprobs == "lists":
        logprobs = shapes.lists(choice.tokens)
    reason = form.reason(choice.finish_reason)
    return ChatChoice(index, _message(form, choice), reason, logprobs, form.seed(index))


def _message(form: AnswerForm, choice: Collected) -> Message:
    message = Message("assistant", choice.text or (None if choice.calls else ""))
    if choice.reasoning:
        message.reasoning = choice.reasoning
    if choice.calls and form.legacy_functions:
        message.function_call = shapes.FunctionPart(choice.calls[0].name, choice.calls[0].arguments)
    elif choice.calls or not form.openai:
        message.tool_calls = [shapes.tool_call(piece, openai=False) for piece in choice.calls]
    return message


def _completion_choice(form: AnswerForm, index: int, choice: Collected) -> CompletionChoice:
    reason = form.reason(choice.finish_reason)
    if not form.openai:
        logprobs = shapes.lists(choice.tokens) if form.logprobs else UNSET
        return CompletionChoice(index, choice.text, reason, logprobs, form.seed(index))
    tokens = [*choice.prompt_tokens, *choice.tokens]
    logprobs = shapes.offset_lists(tokens, 0) if form.logprobs else None
    return CompletionChoice(index, (choice.prompt or "") + choice.text, reason, logprobs)
