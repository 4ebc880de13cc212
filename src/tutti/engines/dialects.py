"""Dialects: they turn calls into requests on an upstream, and its answers into values that callers
understand."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tutti.base.model import Model
from tutti.engines.answers import Delta, Embeddings, Scores
from tutti.engines.audio import (
    RealtimeCall,
    RealtimeEvent,
    RealtimeMessage,
    SpeechCall,
    Transcript,
    TranscriptionCall,
)
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.upstream import Upstream


class TextDialect(Protocol):
    """A dialect for chats and completions.

    A call with `stream` set yields deltas as they come, one batch an upstream read; otherwise one batch with
    one delta. Raises Refusal before the first batch, TuttiError for what the engine cannot do.

    Text is raw: `<think>` tags and tool calls written as text are left in (features/text takes them out), and
    where the prompt template has already opened `<think>`, the text starts with that tag.
    """

    def chat(self, upstream: Upstream, call: ChatCall) -> AsyncIterator[Sequence[Delta]]: ...

    def complete(self, upstream: Upstream, call: CompletionCall) -> AsyncIterator[Sequence[Delta]]: ...


class EmbeddingDialect(Protocol):
    async def embed(
        self, upstream: Upstream, model: Model, texts: Sequence[str | Sequence[int]]
    ) -> Embeddings:
        """Embed texts, or the ids of their tokens. The engine truncates what is longer than the model's
        context."""
        ...


class RerankDialect(Protocol):
    async def rerank(
        self, upstream: Upstream, model: Model, query: str, documents: Sequence[str]
    ) -> Scores: ...


class SpeechDialect(Protocol):
    def speak(self, upstream: Upstream, call: SpeechCall) -> AsyncIterator[bytes]:
        """Yield the encoded audio as it is made; `raw` comes after each sentence. Raises Refusal before the
        first piece, TuttiError for what the engine cannot do. Leaving it early ends the work."""
        ...


class TranscriptionDialect(Protocol):
    async def transcribe(self, upstream: Upstream, call: TranscriptionCall) -> Transcript:
        """Write down a recording. Raises Refusal, and TuttiError for what the engine cannot do."""
        ...


class RealtimeDialect(Protocol):
    """A dialect for live sessions: audio goes in by `send`, transcripts come out of `listen`, on the same
    upstream."""

    def listen(self, upstream: Upstream, call: RealtimeCall) -> AsyncIterator[RealtimeEvent]:
        """Yield the events of a new session, `Opened` first. Leaving it ends the session."""
        ...

    async def send(self, upstream: Upstream, session: str, message: RealtimeMessage) -> None:
        """Send a message, and return once the engine has room for it. Raises Refusal of 404 for a session
        that is gone."""
        ...
