"""An engine: how its replicas are started, how one sees that they move, and how they are spoken to.

An engine never opens a connection. It is handed an `Upstream` (dispatch/upstream makes one) and turns calls
into requests of its dialect and answers into deltas. All of it is stateless.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tutti.base.errors import LoadFailed, TuttiError
from tutti.base.model import Model
from tutti.base.program import Program, Progress
from tutti.base.settings import Settings
from tutti.engines.dialects import (
    EmbeddingDialect,
    RealtimeDialect,
    RerankDialect,
    SpeechDialect,
    TextDialect,
    TranscriptionDialect,
)
from tutti.engines.files import AdapterFormat, Vocabulary, Weights, find_gguf
from tutti.engines.openai_errors import error_of
from tutti.engines.options import Options
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal


class Engine:
    """The way to run replicas of one kind, and the dialects they speak.

    A subclass has a name and what is its own: a program (or an address, where others run the server) and at
    least one dialect. Everything else stands here with the value that fits most engines.
    """

    name: ClassVar[str]
    options: ClassVar[type[Options]] = Options
    """The options that an entry may have."""
    progress_path: ClassVar[str] = "/health"
    """A path that answers as long as the loop that does the work does; `progress` reads its answer. Empty:
    replicas are not watched, since others run them."""

    # --- dialects; None: it does not do this kind of work ------------------------------------------------

    text: ClassVar[TextDialect | None] = None
    embedding: ClassVar[EmbeddingDialect | None] = None
    rerank: ClassVar[RerankDialect | None] = None
    speech: ClassVar[SpeechDialect | None] = None
    transcription: ClassVar[TranscriptionDialect | None] = None
    realtime: ClassVar[RealtimeDialect | None] = None

    # --- files --------------------------------------------------------------------------------------------

    weights: ClassVar[Weights | None] = None
    """The format in which it runs any language model, also one that no catalogue describes. None: it runs
    only models that have an entry."""
    adapters: ClassVar[AdapterFormat | None] = None
    """The format of LoRA adapters that requests may choose. None: it takes no adapters."""

    def vocabulary(self, model: Model, folder: Path) -> Vocabulary | None:  # noqa: ARG002 - for subclasses
        """Return the tokeniser among the model's files. None: there is none that can be read without it."""
        return None

    def gguf_files(self, model: Model, folder: Path) -> Sequence[Path]:  # noqa: ARG002
        """Return the GGUF files in the folder that hold the model's own weights, without adapters and the
        like."""
        return find_gguf(folder)

    def is_installed(self, settings: Settings) -> bool:  # noqa: ARG002
        """Return whether its program is on this machine."""
        return True

    def architecture_check(self, settings: Settings) -> Sequence[str]:  # noqa: ARG002
        """Return a command that gets the names of a model's architectures as arguments, and fails with the
        reason on stderr if the engine knows none of them. Empty: there is nothing to ask."""
        return ()

    # --- replicas -----------------------------------------------------------------------------------------

    def program(self, model: Model, place: Place) -> Program | None:  # noqa: ARG002
        """Return the program of a replica. None: nothing is started, and `address` says where the model
        is."""
        return None

    def address(self, model: Model) -> str:
        """Return the base URL of a model that others run (`program` is None), without a trailing slash."""
        raise LoadFailed(f"The engine {self.name} does not say where {model.name} is.")

    def slots(self, model: Model) -> int:  # noqa: ARG002
        """Return how many requests a replica works on at once; more wait in the gateway."""
        return 1

    def memory_bytes(self, model: Model) -> int:
        """Return an estimate, used against the memory budget until a replica has been measured."""
        return model.memory_bytes or weights_bytes(model)

    def progress(self, body: bytes) -> Progress:  # noqa: ARG002
        """Read the answer of `progress_path`. Unless an engine says more, one that answers is idle."""
        return Progress(0, None)

    # --- requests -----------------------------------------------------------------------------------------

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        """Return headers for every request to the model (a remote's credentials); they are never logged."""
        return {}

    def shares(self, model: Model) -> str:  # noqa: ARG002
        """Return a name for the compute that the model's requests take from one another and from those of
        other models with the same name here. Jobs' requests are broken off when a client wants it. Empty: the
        engine itself lets the requests marked by `behind` wait, or it is not our compute."""
        return ""

    def behind(self, body: bytes) -> bytes:
        """Mark the body of a job's request as one that clients' requests may overtake."""
        return body

    def context(self, model: Model) -> int:
        """Return how many tokens a prompt and its answer may have together; 0: that is not known."""
        return model.context_length

    def error(self, refusal: Refusal) -> TuttiError:
        """Translate a refusal into the error that the client gets."""
        return error_of(refusal)


Engines = Mapping[str, Engine]
"""The table of engines by name (parts/engines)."""


def weights_bytes(model: Model) -> int:
    """Return the size of all the model's files, as far as it is known."""
    return sum(file.size_bytes for file in model.files)
