"""Our own small workers, one program for each kind of model.

- embedding, rerank (workers/embed): sentence embedders of BERT's architecture, on the CPU. The folder has
  model.safetensors, tokenizer.json and config.json, and as sentence-transformers has them
  sentence_bert_config.json, modules.json and 1_Pooling/config.json. The first start makes a graph of them. A
  model of type rerank ranks by similarity: (1 + cosine) / 2, so 0.5 means unrelated.
- audio (workers/speech): English voices of one `family`.
- transcribe (workers/transcribe): Whisper for CTranslate2, its model.bin as model.ct2, and as voices.ge2e the
  weights of Resemblyzer, to tell speakers apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tutti.base.model import Model
from tutti.base.program import Program, Progress
from tutti.engines.answers import Embeddings, Scores
from tutti.engines.base import Engine, weights_bytes
from tutti.engines.openai_answers import RerankAnswer, decode, embeddings_of
from tutti.engines.openai_audio import AudioDialect, AudioServer, RealtimeSessions
from tutti.engines.options import Options
from tutti.engines.place import Place
from tutti.engines.upstream import Upstream
from tutti.process.child import worker_argv


@dataclass(frozen=True)
class _Worker:
    """A program of `workers/`; `working_bytes` is the memory that it takes besides the weights."""

    name: str
    slots: int
    working_bytes: int


_MEGABYTE = 1024 * 1024
_EMBED = _Worker("embed", 16, 250 * _MEGABYTE)
_WORKERS = {
    "audio": _Worker("speech", 16, 400 * _MEGABYTE),
    "transcribe": _Worker("transcribe", 64, 400 * _MEGABYTE),
}

_ENVIRONMENT = {"GOMP_SPINCOUNT": "1000", "OPENBLAS_NUM_THREADS": "1"}
"""Variables that keep threads from spinning: threads that spin while they wait for one another are ten times
as slow on cores shared with others."""


class _Work(msgspec.Struct):
    busy: int
    done: int


class Dialect:
    async def embed(
        self,
        upstream: Upstream,
        model: Model,  # noqa: ARG002 - the protocol's arguments
        texts: Sequence[str | Sequence[int]],
    ) -> Embeddings:
        body = {"input": list(texts), "encoding_format": "base64"}
        return embeddings_of(await upstream.post("/v1/embeddings", msgspec.json.encode(body)))

    async def rerank(
        self,
        upstream: Upstream,
        model: Model,  # noqa: ARG002 - the protocol's arguments
        query: str,
        documents: Sequence[str],
    ) -> Scores:
        body = {"query": query, "documents": list(documents)}
        answer = decode(await upstream.post("/v1/rerank", msgspec.json.encode(body)), RerankAnswer)
        return Scores([result.relevance_score for result in answer.results], answer.usage.prompt_tokens)


class _Options(Options, frozen=True):
    family: Literal["hibari", "kokoro", "orpheus"] | None = None
    """The kind of a speech model: `hibari` (an .onnx file a voice; that of `heart` comes with the package),
    `kokoro` (one .onnx file, and for each voice a .npy or .f32 file) or `orpheus` (one .gguf file, and the
    decoder of SNAC as one .onnx file)."""
    gpu: bool = False
    """Take a whole GPU where the machine has one (types audio and transcribe)."""


class Ours(Engine):
    name = "ours"
    options = _Options
    progress_path = "/progress"
    embedding = rerank = Dialect()
    speech = transcription = AudioDialect(lambda model: AudioServer(model.name))
    realtime = RealtimeSessions()

    def program(self, model: Model, place: Place) -> Program:
        options = _Options.of(model)
        argv = [*worker_argv(_worker(model).name), "--folder", str(place.folder)]
        argv += ["--port", str(place.port), "--threads", str(place.threads)]
        argv += ["--family", options.family] if options.family else []
        return Program(
            name=model.name,
            argv=tuple(argv),
            env=_ENVIRONMENT,
            port=place.port,
            health_path="/health",
            gpus=min(1, len(place.gpus)) if options.gpu else 0,
        )

    def slots(self, model: Model) -> int:
        return _worker(model).slots

    def shares(self, model: Model) -> str:
        return model.name if _Options.of(model).gpu else "cpu"

    def memory_bytes(self, model: Model) -> int:
        weights = weights_bytes(model)
        return model.memory_bytes or (weights + _worker(model).working_bytes if weights else 0)

    def progress(self, body: bytes) -> Progress:
        """Read the number of batches, sentences or windows that went through the model: it is the mark."""
        work = msgspec.json.decode(body, type=_Work)
        return Progress(work.busy, work.done)


def _worker(model: Model) -> _Worker:
    return _WORKERS.get(model.type, _EMBED)
