"""Our own small embedding worker (workers/embed.py): sentence embedders of BERT's architecture, on the CPU.

A model's folder has model.safetensors, tokenizer.json and config.json, and as sentence-transformers has them
sentence_bert_config.json, modules.json and 1_Pooling/config.json. The first start makes a graph of them.
A model of type rerank ranks by similarity: (1 + cosine) / 2, so 0.5 means unrelated. No `Model.options`.
"""

import sys
from collections.abc import Mapping, Sequence

import msgspec

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.base import Embeddings, Place, Progress, Refusal, Scores, Upstream
from tutti.engines.openai_answers import RerankAnswer, decode, embeddings_of
from tutti.engines.openai_errors import error_of

_SLOTS = 16
_WORKING_BYTES = 250 * 1024 * 1024


class _Work(msgspec.Struct):
    busy: int
    batches_done: int


class Dialect:
    async def embed(self, upstream: Upstream, model: Model, texts: Sequence[str]) -> Embeddings:  # noqa: ARG002
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


class Ours:
    name = "ours"
    progress_path = "/progress"
    text = None
    embedding = rerank = Dialect()

    def program(self, model: Model, place: Place) -> Program:
        arguments = (
            "--folder",
            str(place.folder),
            "--port",
            str(place.port),
            "--threads",
            str(place.threads),
        )
        return Program(
            name=model.name,
            argv=(sys.executable, "-m", "tutti.workers.embed", *arguments),
            port=place.port,
            health_path="/health",
        )

    def address(self, model: Model, place: Place) -> str:  # noqa: ARG002 - the protocol's arguments
        return f"http://127.0.0.1:{place.port}"

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def slots(self, model: Model) -> int:  # noqa: ARG002
        return _SLOTS

    def shares(self, model: Model) -> str:  # noqa: ARG002
        return "cpu"

    def behind(self, body: bytes) -> bytes:
        return body

    def memory_bytes(self, model: Model) -> int:
        weights = sum(file.size_bytes for file in model.files)
        return model.memory_bytes or (weights + _WORKING_BYTES if weights else 0)

    def progress(self, body: bytes) -> Progress:
        """The mark is the number of batches that went through the model."""
        work = msgspec.json.decode(body, type=_Work)
        return Progress(work.busy, work.batches_done)

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)
