"""The answers of the text operations, for the OpenAPI document. Component names are the contract's.

The bodies themselves are written by `bodies` and `chunks`, which are faster; tests compare them with these.
"""

from typing import Literal

from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from tutti.features.fields import DEPRECATED, UsageData

Role = Literal["system", "user", "assistant", "function", "tool"]
FinishReason = TypeAliasType("FinishReason", Literal["stop", "eos", "length", "tool_calls", "function_call"])
TopLogprobs = TypeAliasType("TopLogprobs", dict[str, float])


class LogprobsPart(BaseModel):
    """`top_logprobs` is one object for all positions: a token's best value over them."""

    token_ids: list[float | None] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: TopLogprobs | None = None


class PromptPiece(BaseModel):
    text: str | None = None
    logprobs: LogprobsPart | None = None


PromptPart = TypeAliasType("PromptPart", list[PromptPiece])


class InferenceWarning(BaseModel):
    message: str


class ToolFunction(BaseModel):
    name: str
    arguments: str = Field(description="JSON.")


class ToolChoice(BaseModel):
    index: float
    id: str
    type: Literal["function"]
    function: ToolFunction


# --- chat completions -------------------------------------------------------------------------------------


class ChatCompletionMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None
    reasoning: str | None = None
    tool_calls: list[ToolChoice] | None = None
    function_call: ToolFunction | None = Field(None, json_schema_extra=DEPRECATED)


class ChatCompletionChoiceData(BaseModel):
    text: str | None = None
    index: int | None = None
    seed: int | None = None
    finish_reason: FinishReason | None = None
    message: ChatCompletionMessage | None = None
    logprobs: LogprobsPart | None = None
    top_logprobs: TopLogprobs | None = None


ChatCompletionChoicesData = TypeAliasType("ChatCompletionChoicesData", list[ChatCompletionChoiceData])


class ChatCompletionResponse(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    prompt: PromptPart
    choices: ChatCompletionChoicesData
    usage: UsageData | None = None
    warnings: list[InferenceWarning] | None = None


class ChatCompletionChoiceDelta(BaseModel):
    role: Role
    content: str | None = None
    reasoning: str | None = None
    token_id: int | None = None
    tool_calls: list[ToolChoice] | None = None
    function_call: ToolFunction | None = Field(None, json_schema_extra=DEPRECATED)


class ChatCompletionChunkChoice(BaseModel):
    index: int
    delta: ChatCompletionChoiceDelta
    finish_reason: FinishReason | None
    seed: int | None = None
    logprobs: float | None = None
    top_logprobs: TopLogprobs | None = None


class CompletionToken(BaseModel):
    id: int
    text: str
    logprob: float
    special: bool


class ChatCompletionChunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None = None
    choices: list[ChatCompletionChunkChoice]
    token: CompletionToken | None = None
    usage: UsageData | None = None
    warnings: list[InferenceWarning] | None = None
    prompt: PromptPart | None = Field(None, description="With `echo`, on the first chunk.")


class ChatCompletionEvent(BaseModel):
    data: ChatCompletionChunk


class StreamSentinel(BaseModel):
    data: Literal["[DONE]"]


ChatCompletionStream = TypeAliasType("ChatCompletionStream", ChatCompletionEvent | StreamSentinel)

# --- completions ------------------------------------------------------------------------------------------


class CompletionChoiceData(BaseModel):
    text: str | None = None
    index: int | None = None
    seed: int | None = None
    finish_reason: FinishReason | None = None
    logprobs: LogprobsPart | None = None


CompletionChoicesData = TypeAliasType("CompletionChoicesData", list[CompletionChoiceData])


class CompletionResponse(BaseModel):
    id: str
    object: Literal["text.completion"]
    created: int
    model: str
    prompt: PromptPart
    choices: CompletionChoicesData
    usage: UsageData | None
    warnings: list[InferenceWarning] | None = None


class CompletionChoice(BaseModel):
    index: int
    text: str | None = None
    delta: ChatCompletionChoiceDelta | None = None
    finish_reason: FinishReason | None = None


class CompletionChunk(BaseModel):
    id: str
    object: Literal["completion.chunk"] | None = None
    created: int | None = None
    model: str | None = None
    token: CompletionToken
    choices: list[CompletionChoice]
    usage: UsageData | None
    seed: int | None = None
    finish_reason: FinishReason | None
    warnings: list[InferenceWarning] | None = None
    prompt: PromptPart | None = Field(None, description="With `echo`, on the first chunk.")


class CompletionEvent(BaseModel):
    data: CompletionChunk


CompletionStream = TypeAliasType("CompletionStream", CompletionEvent | StreamSentinel)
