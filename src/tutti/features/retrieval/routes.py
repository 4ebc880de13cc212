"""POST /embeddings and POST /rerank."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model, ModelType
from tutti.features.inputs import require_openai
from tutti.features.resolving import requested_model
from tutti.features.retrieval import service
from tutti.features.retrieval.schemas import (
    EmbeddingsRequest,
    EmbeddingsResponse,
    RerankRequest,
    RerankResponse,
)
from tutti.http.context import caller, family, request_id
from tutti.http.route import BodyRoute
from tutti.http.stream import while_connected
from tutti.platform import Platform


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
        require_openai(family(request), "input", body.input)
        model = await _model(platform, request, body.model, "make embeddings", "embedding")
        work = service.embed(platform, caller(request), model, body)
        return _json(await while_connected(request, work))

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
        work = service.rerank(platform, caller(request), model, body)
        return _json({"id": request_id(request)} | await while_connected(request, work))

    return routes


async def _model(platform: Platform, request: Request, name: str, verb: str, *types: ModelType) -> Model:
    """Return the model called `name`. Raise InvalidRequest unless it is of one of these types."""
    model = await requested_model(platform, request, name)
    if model.type not in types:
        raise InvalidRequest(f"Model {name} is of type {model.type} and cannot {verb}.", param="model")
    return model


def _json(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
