"""GET /models, GET /models/{id} and POST /models. The list is a bare array for Together's clients and a list
object for OpenAI's: the two cannot be reconciled, so the answer varies with the client."""

from fastapi import APIRouter, Query, Request, Response

from tutti.features.answers import answer
from tutti.features.models.schemas import (
    ModelInfo,
    ModelInfoList,
    ModelUploadRequest,
    ModelUploadSuccessResponse,
    OpenAIModelList,
)
from tutti.features.models.service import list_models, retrieve_model
from tutti.features.models.upload import upload
from tutti.http.context import caller, family
from tutti.platform import Platform


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Models"])

    @routes.get("/models", operation_id="models", summary="List all models", response_model=ModelInfoList)
    async def models(
        request: Request,
        dedicated: bool = Query(False, description="Filter models to only return dedicated models"),
    ) -> Response:
        """Lists the models that can be used here."""
        speaks = family(request)
        found = await list_models(platform, caller(request).project_id, speaks, dedicated=dedicated)
        openai = speaks == "openai"
        return answer(OpenAIModelList(object="list", data=found) if openai else ModelInfoList(found))

    @routes.post("/models", operation_id="uploadModel", summary="Upload a custom model or adapter")
    async def upload_model(request: Request, body: ModelUploadRequest) -> ModelUploadSuccessResponse:
        """Upload a custom model or adapter from Hugging Face or S3. GET /jobs/{jobId} says how far it is."""
        return await upload(platform, caller(request).project_id, body)

    @routes.get(
        "/models/{id:path}",
        operation_id="retrieveModel",
        summary="Describe a model",
        response_model=ModelInfo,
    )
    async def model(request: Request, id: str) -> Response:
        """Describes one model; its id may contain slashes, percent-encoded or not."""
        project_id = caller(request).project_id
        return answer(await retrieve_model(platform, project_id, family(request), id))

    return routes
