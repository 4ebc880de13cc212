"""What an engine is: how to start it, how to see that it moves, and how to speak to it.

An engine never opens a connection. It is handed an `Upstream` (dispatch/upstream makes one) and
turns calls into requests of its dialect and answers into deltas. All of it is stateless.
"""

from collections.abc import Mapping
from typing import Protocol

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.dialects import (
    EmbeddingDialect,
    RealtimeDialect,
    RerankDialect,
    SpeechDialect,
    TextDialect,
    TranscriptionDialect,
)
from tutti.engines.options import Options
from tutti.engines.place import Place, Progress
from tutti.engines.upstream import Refusal


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
