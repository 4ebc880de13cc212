"""Embeds texts and ranks documents: from the bodies of the API to the JSON of its answers."""

from collections.abc import Sequence
from typing import cast

import msgspec

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.dispatch.dispatch import Lease
from tutti.engines.calls import Json
from tutti.engines.dialects import EmbeddingDialect, RerankDialect
from tutti.features.inputs import shortened
from tutti.features.metered import metered
from tutti.features.retrieval import vectors
from tutti.features.retrieval.batched import in_batches
from tutti.features.retrieval.schemas import EmbeddingsRequest, RerankRequest
from tutti.platform import Platform

# --- embeddings ---------------------------------------------------------------------------------------------


async def embed(platform: Platform, who: Caller, model: Model, body: EmbeddingsRequest) -> Json:
    """Return the answer of POST /embeddings, and record the request."""
    with metered(platform.meter, who, model, "embeddings") as tally:

        async def embed_batch(lease: Lease, batch: Sequence[str | Sequence[int]]) -> Sequence[bytes]:
            answer = await _embedding(lease, body.model).embed(lease.upstream, model, batch)
            tally.prompt_tokens += answer.prompt_tokens
            can_shorten = lease.engine.options.of(model).matryoshka
            return [
                vectors.shorten(vector, body.dimensions, body.model, can_shorten) for vector in answer.vectors
            ]

        embedded = await in_batches(platform.dispatch, who, model, _inputs(body, model), embed_batch)
        return {
            "object": "list",
            "model": body.model,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": vectors.encode(vector, body.encoding_format),
                }
                for index, vector in enumerate(embedded)
            ],
            "usage": {"prompt_tokens": tally.prompt_tokens, "total_tokens": tally.prompt_tokens},
        }


def _inputs(body: EmbeddingsRequest, model: Model) -> Sequence[str | list[int]]:
    """Return what is to be embedded: texts, or for each text the ids of its tokens."""
    given = body.input
    if isinstance(given, str):
        return [shortened(given, model)]
    if isinstance(given[0], int):
        return [cast(list[int], given)]
    texts = cast(list[str | list[int]], given)
    return [shortened(text, model) if isinstance(text, str) else text for text in texts]


def _embedding(lease: Lease, name: str) -> EmbeddingDialect:
    if lease.engine.embedding is None:
        raise InvalidRequest(f"The engine of model {name} cannot make embeddings.", param="model")
    return lease.engine.embedding


# --- rerank -------------------------------------------------------------------------------------------------


async def rerank(platform: Platform, who: Caller, model: Model, body: RerankRequest) -> Json:
    """Return the answer of POST /rerank, all but its id, and record the request."""
    query = shortened(body.query, model)
    with metered(platform.meter, who, model, "rerank") as tally:

        async def rank_batch(lease: Lease, batch: Sequence[str]) -> Sequence[float]:
            answer = await _reranking(lease, body.model).rerank(lease.upstream, model, query, batch)
            tally.prompt_tokens += answer.prompt_tokens
            return answer.scores

        documents = [shortened(_text(document, body.rank_fields), model) for document in body.documents]
        scores = await in_batches(platform.dispatch, who, model, documents, rank_batch)
        vectors.check_finite(scores)
        usage = {"prompt_tokens": tally.prompt_tokens, "completion_tokens": 0}
        return {
            "object": "rerank",
            "model": body.model,
            "results": _results(body, scores),
            "usage": {**usage, "total_tokens": tally.prompt_tokens},
        }


def _results(body: RerankRequest, scores: Sequence[float]) -> list[Json]:
    """Return the `top_n` best documents, the best one first."""
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: body.top_n]
    return [
        {
            "index": index,
            "relevance_score": scores[index],
            "document": {"text": _as_string(body.documents[index])} if body.return_documents else {},
        }
        for index in best
    ]


def _reranking(lease: Lease, name: str) -> RerankDialect:
    if lease.engine.rerank is None:
        raise InvalidRequest(f"The engine of model {name} cannot rerank.", param="model")
    return lease.engine.rerank


def _text(document: str | Json, fields: Sequence[str] | None) -> str:
    """Return the text to rank a document by: the values of its `fields`, in their order, one a line."""
    if isinstance(document, str):
        return document
    names = [name for name in fields if name in document] if fields else list(document)
    if fields and not names:
        raise InvalidRequest(f"A document has none of the fields {fields}.", param="rank_fields")
    return "\n".join(_as_string(document[name]) for name in names)


def _as_string(value: object) -> str:
    """Return a string as it is, and anything else as JSON: so the API returns documents that are objects."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
