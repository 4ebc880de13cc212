"""POST /embeddings and POST /rerank. Long inputs go to the engine in batches, one lease each, so that a big
request takes turns with small ones."""

import base64
import math
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence, Sized
from typing import Any, TypeVar, cast

import msgspec
from fastapi import APIRouter, Request, Response

from tutti.access.caller import Caller
from tutti.base.errors import InternalError, InvalidRequest
from tutti.base.model import Model, ModelType
from tutti.dispatch.dispatch import Lease
from tutti.engines.dialects import EmbeddingDialect, RerankDialect
from tutti.engines.upstream import Refusal
from tutti.features.inputs import require_openai, shortened
from tutti.features.metered import Tally, metered
from tutti.features.retrieval.schemas import (
    EmbeddingsRequest,
    EmbeddingsResponse,
    RerankRequest,
    RerankResponse,
)
from tutti.http.context import caller, request_id
from tutti.http.route import BodyRoute
from tutti.http.stream import while_connected
from tutti.platform import Platform

BATCH = 64
_BATCH_CHARS = 1 << 20
"""An engine counts the tokens of a whole batch, which takes memory."""

_Answer = TypeVar("_Answer")
_Text = TypeVar("_Text", bound=Sized)
_Json = dict[str, Any]


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute)

    @routes.post(
        "/embeddings",
        operation_id="embeddings",
        tags=["Embeddings"],
        summary="Create embedding",
        response_model=EmbeddingsResponse,
    )
    async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
        """Generate vector embeddings for one or more text inputs."""
        require_openai(request, "input", body.input)
        model = await _model(platform, request, body.model, "make embeddings", "embedding")
        with metered(platform.meter, who := caller(request), model, "embeddings") as tally:
            return _json(await while_connected(request, _embed(platform, who, body, model, tally)))

    @routes.post(
        "/rerank",
        operation_id="rerank",
        tags=["Rerank"],
        summary="Create a rerank request",
        response_model=RerankResponse,
    )
    async def rerank(request: Request, body: RerankRequest) -> Response:
        """Rerank a list of documents by relevance to a query."""
        model = await _model(platform, request, body.model, "rerank", "rerank", "embedding")
        with metered(platform.meter, who := caller(request), model, "rerank") as tally:
            answer = await while_connected(request, _rerank(platform, who, body, model, tally))
            return _json({"id": request_id(request)} | answer)

    return routes


def _json(body: _Json) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


# --- embeddings ---------------------------------------------------------------------------------------------


async def _embed(
    platform: Platform, who: Caller, body: EmbeddingsRequest, model: Model, tally: Tally
) -> _Json:
    async def embed(lease: Lease, batch: Sequence[str | Sequence[int]]) -> Sequence[bytes]:
        answer = await _embedding(lease, body.model).embed(lease.upstream, model, batch)
        tally.prompt_tokens += answer.prompt_tokens
        can_shorten = lease.engine.options.of(model).matryoshka
        return [_shorten(vector, body.dimensions, body.model, can_shorten) for vector in answer.vectors]

    vectors = await _batched(platform, who, model, _inputs(body, model), embed)
    return {
        "object": "list",
        "model": body.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tally.prompt_tokens, "total_tokens": tally.prompt_tokens},
    }


def _inputs(body: EmbeddingsRequest, model: Model) -> Sequence[str | list[int]]:
    """Texts, or token ids of each text."""
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


def _shorten(vector: bytes, dimensions: int | None, name: str, can_shorten: bool) -> bytes:
    """The first dimensions, scaled back to length 1: only for models trained for that (`matryoshka`)."""
    size = len(vector) // 4
    if dimensions is None or dimensions == size:
        return vector
    if not can_shorten or dimensions > size:
        message = f"Model {name} has {size} dimensions and cannot be asked for {dimensions}."
        raise InvalidRequest(message, param="dimensions")
    kept = _floats(vector)[:dimensions]
    norm = math.hypot(*kept) or 1.0
    return struct.pack(f"<{dimensions}f", *(x / norm for x in kept))


def _written(vector: bytes, encoding_format: str | None) -> str | tuple[float, ...]:
    numbers = _floats(vector)
    _check_finite(numbers)
    return base64.b64encode(vector).decode() if encoding_format == "base64" else numbers


def _floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


# --- rerank -------------------------------------------------------------------------------------------------


async def _rerank(platform: Platform, who: Caller, body: RerankRequest, model: Model, tally: Tally) -> _Json:
    query = shortened(body.query, model)

    async def rank(lease: Lease, batch: Sequence[str]) -> Sequence[float]:
        answer = await _reranking(lease, body.model).rerank(lease.upstream, model, query, batch)
        tally.prompt_tokens += answer.prompt_tokens
        return answer.scores

    documents = [shortened(_ranked(document, body.rank_fields), model) for document in body.documents]
    scores = await _batched(platform, who, model, documents, rank)
    _check_finite(scores)
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: body.top_n]
    return {
        "object": "rerank",
        "model": body.model,
        "results": [
            {
                "index": index,
                "relevance_score": scores[index],
                "document": {"text": _shown(body.documents[index])} if body.return_documents else {},
            }
            for index in best
        ],
        "usage": {
            "prompt_tokens": tally.prompt_tokens,
            "completion_tokens": 0,
            "total_tokens": tally.prompt_tokens,
        },
    }


def _reranking(lease: Lease, name: str) -> RerankDialect:
    if lease.engine.rerank is None:
        raise InvalidRequest(f"The engine of model {name} cannot rerank.", param="model")
    return lease.engine.rerank


def _ranked(document: str | _Json, fields: Sequence[str] | None) -> str:
    """The text to rank by: the fields' values in the order asked for, one a line."""
    if isinstance(document, str):
        return document
    names = [name for name in fields if name in document] if fields else list(document)
    if fields and not names:
        raise InvalidRequest(f"A document has none of the fields {fields}.", param="rank_fields")
    return "\n".join(_shown(document[name]) for name in names)


def _shown(value: object) -> str:
    """A string as it is, anything else as JSON: how the API returns object documents."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# --- both ---------------------------------------------------------------------------------------------------


async def _batched(
    platform: Platform,
    who: Caller,
    model: Model,
    texts: Sequence[_Text],
    work: Callable[[Lease, Sequence[_Text]], Awaitable[Sequence[_Answer]]],
) -> list[_Answer]:
    answers: list[_Answer] = []
    for batch in _batches(texts):
        async with platform.dispatch.lease(model, who.project_id) as lease:
            try:
                answer = await work(lease, batch)
            except Refusal as refusal:
                raise lease.engine.error(refusal) from refusal
        if len(answer) != len(batch):
            raise InternalError("The engine answered for another number of texts.")
        answers.extend(answer)
    return answers


def _batches(texts: Sequence[_Text]) -> Iterator[Sequence[_Text]]:
    batch: list[_Text] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == BATCH or size + len(text) > _BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


async def _model(platform: Platform, request: Request, name: str, verb: str, *types: ModelType) -> Model:
    model = await platform.dispatch.resolve(name, caller(request).project_id)
    request.scope["state"]["model"] = model.name
    if model.type not in types:
        raise InvalidRequest(f"Model {name} is of type {model.type} and cannot {verb}.", param="model")
    return model


def _check_finite(numbers: Sequence[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise InternalError("The engine answered with numbers that are not finite.")
