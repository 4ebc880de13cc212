"""What an engine is: how to start it, how to see that it moves, and how to speak to it.

An engine never opens a connection. It is handed an `Upstream` (dispatch/upstream makes one) and
turns calls into requests of its dialect and answers into deltas. All of it is stateless.
"""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.audio import (
    RealtimeCall,
    RealtimeEvent,
    RealtimeMessage,
    SpeechCall,
    Transcript,
    TranscriptionCall,
)

Json = dict[str, Any]
FinishReason = Literal["stop", "eos", "length", "tool_calls", "function_call"]


# --- starting and watching -------------------------------------------------------------------------------


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names and types of what an entry may say, whatever its engine; an engine's own add to them. An engine
    reads its options itself: that these are left out is all that their defaults say here."""

    matryoshka: bool = False
    """Embeddings may be shortened to any number of dimensions."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that requests may choose, and the folder of its files."""

    model: Model
    folder: Path


@dataclass(frozen=True)
class Place:
    """Where a replica is to run: its weights' folder, a free loopback port, and its share of the machine."""

    folder: Path
    port: int
    threads: int
    gpus: tuple[int, ...] = ()
    vllm_python: str = ""
    hub_token: str = ""
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class Progress:
    """`busy`: requests being worked on. `mark` changes whenever the engine gets anything done."""

    busy: int
    mark: Hashable


# --- calls ------------------------------------------------------------------------------------------------


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """None leaves the engine's default."""

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
    """What the output must match. `schema` is a JSON Schema (json_schema), `pattern` a regular expression,
    `grammar` what llama.cpp is given for either. `calls`: the text is a call of one of the tools,
    `{"name": ..., "arguments": {...}}`, as the tool choice asks for."""

    kind: Literal["json_object", "json_schema", "regex"]
    schema: Json | None = None
    pattern: str | None = None
    grammar: str = ""
    calls: bool = False


class ChatCall(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of a chat completion. Messages and tools have OpenAI's shape; media are data: URLs.

    `tool_choice` is auto, none, required, or the name of the function to force as `{"name": ...}`.
    `logprobs`: None for none, 0 for the sampled token only, k for the k most likely besides.
    """

    model: Model
    messages: Sequence[Json]
    stream: bool
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    constraint: Constraint | None = None
    tools: Sequence[Json] = ()
    tool_choice: str | Mapping[str, str] = "auto"
    template_kwargs: Json = msgspec.field(default_factory=dict[str, Any])
    reasoning_effort: str | None = None
    echo: bool = False
    truncate: bool = False
    """context_length_exceeded_behavior: shorten max_tokens to what fits, instead of an error."""

    @property
    def is_forced(self) -> bool:
        """It has to be answered with a call."""
        return bool(self.tools) and self.tool_choice not in ("auto", "none")


class CompletionCall(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of a text completion."""

    model: Model
    prompt: str | Sequence[int]
    """A raw prompt is the client's own: control tokens in it are tokens. Or ids of the model's tokeniser."""
    stream: bool
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    constraint: Constraint | None = None
    echo: bool = False
    suffix: str | None = None
    """What comes after the completion, which then fills the middle."""


# --- answers ----------------------------------------------------------------------------------------------
# Made for every token, and never part of a cycle: with `gc=False` the collector need not look for one.


class TopToken(msgspec.Struct, frozen=True, gc=False):
    text: str
    logprob: float
    id: int | None = None
    raw: bytes | None = None


class Token(msgspec.Struct, frozen=True, gc=False):
    """`logprob` is None where it was not asked for or cannot be had. `raw`: its bytes, where they are only a
    part of a character. The last of such tokens has the text."""

    text: str
    id: int | None = None
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()
    raw: bytes | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A whole call, or in a stream a piece of one: `id` and `name` come with the first piece of an index."""

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
    """`vectors[i]` belongs to input i; little-endian float32 bytes."""

    vectors: Sequence[bytes]
    prompt_tokens: int


class Scores(msgspec.Struct, frozen=True):
    """`scores[i]` belongs to document i: higher is more relevant."""

    scores: Sequence[float]
    prompt_tokens: int


# --- the protocols ----------------------------------------------------------------------------------------


class Refusal(Exception):
    """The engine answered with an HTTP error; `Engine.error` says what it means to the client."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"engine answered {status}: {body[:500]!r}")
        self.status = status
        self.body = body


class Upstream(Protocol):
    """A connection to one replica: it posts JSON to `Engine.address` + path (which begins with a slash), with
    `Engine.headers` on every request. Both verbs raise Refusal for statuses of 400 and above, and
    `Unavailable` where the replica is gone. Leaving `stream` early aborts the generation at once."""

    @property
    def adapter(self) -> int:
        """The number of the model among the replica's adapters (`Place.adapters`); -1: it is none of them."""
        ...

    async def post(self, path: str, body: bytes) -> bytes: ...

    def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]: ...

    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        """Posts the pieces one after the other. Files are read as they are sent, once more where the request
        has to move to another replica."""
        ...


class TextDialect(Protocol):
    """A call with `stream` set yields deltas as they come, one batch an upstream read; otherwise one batch
    with one delta. Raises Refusal before the first batch, TuttiError for what the engine cannot do.

    Text is raw: `<think>` tags and tool calls written as text are left in (features/text takes them out), and
    where the prompt template has already opened `<think>`, the text starts with that tag."""

    def chat(self, upstream: Upstream, call: ChatCall) -> AsyncIterator[Sequence[Delta]]: ...

    def complete(self, upstream: Upstream, call: CompletionCall) -> AsyncIterator[Sequence[Delta]]: ...


class EmbeddingDialect(Protocol):
    async def embed(
        self, upstream: Upstream, model: Model, texts: Sequence[str | Sequence[int]]
    ) -> Embeddings:
        """Texts, or the ids of their tokens. What is longer than the model's context is truncated by the
        engine."""
        ...


class RerankDialect(Protocol):
    async def rerank(
        self, upstream: Upstream, model: Model, query: str, documents: Sequence[str]
    ) -> Scores: ...


class SpeechDialect(Protocol):
    def speak(self, upstream: Upstream, call: SpeechCall) -> AsyncIterator[bytes]:
        """The encoded audio as it is made; `raw` comes after each sentence. Raises Refusal before the first
        piece, TuttiError for what the engine cannot do. Leaving it early ends the work."""
        ...


class TranscriptionDialect(Protocol):
    async def transcribe(self, upstream: Upstream, call: TranscriptionCall) -> Transcript:
        """Raises Refusal, and TuttiError for what the engine cannot do."""
        ...


class RealtimeDialect(Protocol):
    """Audio goes in by `send`, transcripts come out of `listen`: both on the same upstream."""

    def listen(self, upstream: Upstream, call: RealtimeCall) -> AsyncIterator[RealtimeEvent]:
        """`Opened` first. Leaving it ends the session."""
        ...

    async def send(self, upstream: Upstream, session: str, message: RealtimeMessage) -> None:
        """Returns once the engine has room for it. Raises Refusal of 404 for a session that is gone."""
        ...


class Engine(Protocol):
    """How replicas of one kind are run, and the dialects they speak (None: not this kind of work)."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> "type[Options]":
        """What `Model.options` may say."""
        ...

    @property
    def progress_path(self) -> str: ...

    @property
    def text(self) -> TextDialect | None: ...

    @property
    def embedding(self) -> EmbeddingDialect | None: ...

    @property
    def rerank(self) -> RerankDialect | None: ...

    @property
    def speech(self) -> SpeechDialect | None: ...

    @property
    def transcription(self) -> TranscriptionDialect | None: ...

    @property
    def realtime(self) -> RealtimeDialect | None: ...

    def program(self, model: Model, place: Place) -> Program | None:
        """None where there is nothing to start: `address` then says where the model is."""
        ...

    def address(self, model: Model, place: Place) -> str:
        """Base URL without a trailing slash."""
        ...

    def headers(self, model: Model) -> Mapping[str, str]:
        """Sent by the Upstream on every request to this model (a remote's credentials); never logged."""
        ...

    def slots(self, model: Model) -> int:
        """How many requests a replica works on at once; more wait in the gateway."""
        ...

    def shares(self, model: Model) -> str:
        """The compute that its requests take from one another, and from those of other models that name the
        same: jobs' requests are broken off when a client wants it. Empty where the engine itself lets the
        requests marked by `behind` wait, or where it is not our compute."""
        ...

    def behind(self, body: bytes) -> bytes:
        """The body of a job's request, which clients' requests may overtake."""
        ...

    def context(self, model: Model) -> int:
        """Tokens that a prompt and its answer may have together where it runs; 0: that is not known."""
        ...

    def memory_bytes(self, model: Model) -> int:
        """An estimate, used against the memory budget until a replica has been measured."""
        ...

    def progress(self, body: bytes) -> Progress:
        """Reads the answer of `progress_path`, which must come from the loop that does the work."""
        ...

    def error(self, refusal: Refusal) -> TuttiError:
        """What a refusal means to the client."""
        ...
