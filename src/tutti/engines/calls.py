"""Calls for text: chats, completions, and what their answers have to look like."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from tutti.base.model import Model

Json = dict[str, Any]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of sampling. None leaves the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = msgspec.field(default_factory=dict[int, float])
    seed: int | None = None


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """The form that the output must have. `schema` is a JSON Schema (json_schema), `pattern` a regular
    expression, `grammar` what llama.cpp is given for either. `calls`: the text is a call of one of the tools,
    `{"name": ..., "arguments": {...}}`, as the tool choice asks for."""

    kind: Literal["json_object", "json_schema", "regex"]
    schema: Json | None = None
    pattern: str | None = None
    grammar: str = ""
    calls: bool = False


class _TextCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of either kind. `logprobs`: None for none, 0 for the sampled token only, k for the k most likely
    besides."""

    model: Model
    stream: bool
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    constraint: Constraint | None = None
    echo: bool = False


class ChatCall(_TextCall, frozen=True, kw_only=True):
    """One choice of a chat completion. Messages and tools have OpenAI's shape; media are data: URLs.

    `tool_choice` is auto, none, required, or the name of the function to force as `{"name": ...}`.
    """

    messages: Sequence[Json]
    tools: Sequence[Json] = ()
    tool_choice: str | Mapping[str, str] = "auto"
    template_kwargs: Json = msgspec.field(default_factory=dict[str, Any])
    reasoning_effort: str | None = None
    truncate: bool = False
    """Shorten max_tokens to what fits, instead of refusing (the API's context_length_exceeded_behavior)."""

    @property
    def is_forced(self) -> bool:
        """True if the answer has to be a call of a tool."""
        return bool(self.tools) and self.tool_choice not in ("auto", "none")


class CompletionCall(_TextCall, frozen=True, kw_only=True):
    """One choice of a text completion."""

    prompt: str | Sequence[int]
    """A text, in which control tokens are tokens since a raw prompt is the client's own, or ids of the
    model's tokeniser."""
    suffix: str | None = None
    """The text after the completion, which then fills the middle."""
