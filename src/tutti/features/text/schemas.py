"""The requests of the text operations. Component names are the contract's.

Fields that clients send but the contract lacks (OpenAI's, older ones of Together's) are accepted too; unknown
fields are ignored; a wrong type is an error that names the field.
"""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypeAliasType

from tutti.features.fields import (
    DEPRECATED,
    INT32_MAX,
    Body,
    Count,
    JsonObject,
    Seed,
    ShortText,
    TokenIds,
    Whole,
    as_whole,
    at_most,
)
from tutti.features.inputs import texts_or_tokens
from tutti.http.body import MAX_DEPTH, is_deeper


def _list_or_string(value: Any) -> str:
    """Return the tag of the union's member that a value is validated as: errors then name only that one."""
    return "list" if isinstance(value, list) else "string"


def _object_or_string(value: Any) -> str:
    return "object" if isinstance(value, dict) else "string"


def _arguments(text: str) -> str:
    """Return the arguments of a call that a client sends back; empty text, which is common, means `{}`.

    Raises ValueError for anything but a JSON object, such as arguments that max_tokens cut off: no template
    can render that, and each engine fails on it in its own way.
    """
    if not text.strip():
        return "{}"
    try:
        arguments = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(
            f"a call's arguments are the text of a JSON object: repair it, or leave the call out ({exc})"
        ) from exc
    if is_deeper(arguments, MAX_DEPTH):
        raise ValueError(f"a call's arguments are nested more than {MAX_DEPTH} levels deep")
    return text


_MOST_MESSAGES = 8192


# --- messages ---------------------------------------------------------------------------------------------


class TextPart(Body):
    type: Literal["text"]
    text: str


class MediaUrl(Body):
    url: str = Field(description="A public URL, or a `data:` URL.")


class ImagePart(Body):
    type: Literal["image_url"]
    image_url: MediaUrl


class VideoPart(Body):
    type: Literal["video_url"]
    video_url: MediaUrl


class AudioPart(Body):
    type: Literal["audio_url"]
    audio_url: MediaUrl


class InputAudio(Body):
    data: str = Field(description="The audio in base64.")
    format: Literal["wav", "mp3"]


class InputAudioPart(Body):
    type: Literal["input_audio"]
    input_audio: InputAudio


Part = TextPart | ImagePart | VideoPart | AudioPart | InputAudioPart

ChatCompletionUserMessageContentString = TypeAliasType("ChatCompletionUserMessageContentString", str)
ChatCompletionUserMessageContentMultimodal = TypeAliasType(
    "ChatCompletionUserMessageContentMultimodal",
    Annotated[list[Annotated[Part, Field(discriminator="type")]], Field(max_length=4096)],
)
ChatCompletionUserMessageContent = TypeAliasType(
    "ChatCompletionUserMessageContent",
    Annotated[
        Annotated[ChatCompletionUserMessageContentString, Tag("string")]
        | Annotated[ChatCompletionUserMessageContentMultimodal, Tag("list")],
        Discriminator(_list_or_string),
    ],
)
TextContent = str | list[TextPart]


class FunctionCall(Body):
    name: ShortText
    arguments: Annotated[str, AfterValidator(_arguments)]


class ToolCallParam(Body):
    """`ToolChoice` as clients send it back: openai leaves the index out."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    index: Annotated[float, BeforeValidator(as_whole)] | None = None


class ChatCompletionSystemMessageParam(Body):
    role: Literal["system", "developer"]
    content: TextContent
    name: str | None = None


class ChatCompletionUserMessageParam(Body):
    role: Literal["user"]
    content: ChatCompletionUserMessageContent
    name: str | None = None


class ChatCompletionAssistantMessageParam(Body):
    role: Literal["assistant"]
    content: TextContent | None = None
    name: str | None = None
    tool_calls: list[ToolCallParam] | None = None
    function_call: FunctionCall | None = Field(None, json_schema_extra=DEPRECATED)


class ChatCompletionToolMessageParam(Body):
    role: Literal["tool"]
    content: TextContent
    tool_call_id: str
    name: str | None = None


class ChatCompletionFunctionMessageParam(Body):
    role: Literal["function"]
    content: TextContent
    name: str


ChatCompletionMessageParam = TypeAliasType(
    "ChatCompletionMessageParam",
    Annotated[
        ChatCompletionSystemMessageParam
        | ChatCompletionUserMessageParam
        | ChatCompletionAssistantMessageParam
        | ChatCompletionToolMessageParam
        | ChatCompletionFunctionMessageParam,
        Field(discriminator="role"),
    ],
)


# --- tools and formats ------------------------------------------------------------------------------------


class FunctionPart(Body):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str | None = None
    parameters: JsonObject | None = Field(None, description="A JSON Schema of the arguments.")
    strict: bool | None = Field(None, description="Refuse parameters that cannot be enforced as a whole.")


class ToolsPart(Body):
    type: str = "function"
    function: FunctionPart


class FunctionName(Body):
    name: ShortText


class ToolChoiceParam(Body):
    """`ToolChoice` as clients send it: the function's name is all that counts."""

    type: Literal["function"] = "function"
    function: FunctionName


class ResponseFormatText(Body):
    type: Literal["text"]


class ResponseFormatJsonObject(Body):
    type: Literal["json_object"]
    schema_: JsonObject | None = Field(None, alias="schema", description="Older spelling of `json_schema`.")


class JsonSchemaFormat(Body):
    name: str | None = None
    description: str | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormatJsonSchema(Body):
    type: Literal["json_schema"]
    json_schema: JsonSchemaFormat | None = None
    schema_: JsonObject | None = Field(None, alias="schema", description="The schema itself, beside `type`.")

    @model_validator(mode="after")
    def _has_schema(self) -> "ResponseFormatJsonSchema":
        if self.json_schema is None and self.schema_ is None:
            raise ValueError("`json_schema` is required: add it, or `schema`")
        return self


class ResponseFormatRegex(Body):
    type: Literal["regex"]
    pattern: Annotated[str, Field(min_length=1, max_length=16384)]


ResponseFormat = Annotated[
    ResponseFormatText | ResponseFormatJsonSchema | ResponseFormatJsonObject | ResponseFormatRegex,
    Field(discriminator="type"),
]


class Reasoning(Body):
    enabled: bool | None = None


class StreamOptions(Body):
    include_usage: bool | None = None


# --- requests ---------------------------------------------------------------------------------------------


class Generation(Body):
    """The fields that both operations have in common."""

    model: ShortText = Field(description="The name of the model to query, or an alias of it.")
    max_tokens: Annotated[Whole, Field(ge=0, le=INT32_MAX)] | None = Field(
        None, description="The most tokens to generate; unset: as many as fit or as the model is set to."
    )
    stop: (
        Annotated[
            Annotated[ShortText, Tag("string")]
            | Annotated[list[ShortText], Field(max_length=64), Tag("list")],
            Discriminator(_list_or_string),
        ]
        | None
    ) = Field(None, description="Strings that end the text where they would appear; they are left out.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: Annotated[Whole, Field(ge=-1, le=INT32_MAX)] | None = Field(
        None, description="Sample among this many most likely tokens; 0 or -1: among all."
    )
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-1e6, le=1e6)]] | None = Field(
        None, max_length=8192, description="Token id to what is added to its logit."
    )
    logprobs: bool | Annotated[Whole, Field(ge=0, le=20)] | None = Field(
        None, description="How many of the most likely tokens to list; `true` asks for openai's shape."
    )
    top_logprobs: Annotated[Whole, Field(ge=0, le=20)] | None = Field(
        None, description="With `logprobs: true`: how many tokens."
    )
    echo: bool | None = Field(None, description="Return the prompt too (with `logprobs`: its log probs).")
    n: Annotated[Whole, Field(ge=1, le=128)] | None = Field(None, description="How many choices.")
    seed: Seed | None = Field(None, description="The same seed gives the same text; choice i has seed + i.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    safety_model: ShortText | None = Field(
        None, description="A moderation model that input and output must pass."
    )
    response_format: ResponseFormat | None = None


class ChatCompletionRequest(Generation):
    messages: Annotated[list[ChatCompletionMessageParam], Field(min_length=1), at_most(_MOST_MESSAGES)] = (
        Field(description="The conversation so far.")
    )
    max_tokens: Count | None = Field(
        None, description="The most tokens to generate; unset: as many as fit or as the model is set to."
    )
    max_completion_tokens: Count | None = Field(None, description="Another name of `max_tokens`.")
    context_length_exceeded_behavior: Literal["truncate", "error"] | None = Field(
        "error", description="What happens when `max_tokens` does not fit the model's context."
    )
    tools: list[ToolsPart] | None = Field(None, max_length=1024)
    tool_choice: (
        Annotated[
            Annotated[ShortText, Tag("string")] | Annotated[ToolChoiceParam, Tag("object")],
            Discriminator(_object_or_string),
        ]
        | None
    ) = Field(None, description="auto, none, required, or the function to call.")
    parallel_tool_calls: bool | None = Field(None, description="false: at most one call an answer.")
    functions: list[FunctionPart] | None = Field(None, max_length=1024, json_schema_extra=DEPRECATED)
    function_call: (
        Annotated[
            Annotated[Literal["none", "auto"], Tag("string")] | Annotated[FunctionName, Tag("object")],
            Discriminator(_object_or_string),
        ]
        | None
    ) = Field(None, json_schema_extra=DEPRECATED)
    compliance: Literal["hipaa"] | None = None
    chat_template_kwargs: JsonObject | None = Field(None, description="Passed to the prompt template.")
    reasoning_effort: (
        Literal["low", "medium", "high"] | SkipJsonSchema[Literal["none", "minimal", "xhigh", "max"]] | None
    ) = None
    reasoning: Reasoning | None = None


class CompletionRequest(Generation):
    prompt: Annotated[
        Annotated[str, Tag("string")]
        | Annotated[list[str], Field(min_length=1, max_length=128), Tag("list")]
        | SkipJsonSchema[Annotated[TokenIds, Tag("tokens")]]
        | SkipJsonSchema[Annotated[list[TokenIds], Field(max_length=128), Tag("token_lists")]],
        Discriminator(texts_or_tokens),
    ] = Field(description="What to complete; several prompts give their choices in order.")
    suffix: str | None = Field(
        None, description="What comes after the completion, for models that fill in the middle."
    )
