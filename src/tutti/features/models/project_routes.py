"""Lists that the 3.x client reads instead of GET /models: the models of a project, and those that everybody
has. It asks under /v2, which means the same here as /v1."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from tutti.access.caller import Caller
from tutti.base.model import Capability, Model, ModelType
from tutti.features.models.project_schemas import (
    Feature,
    Modality,
    ModelWeights,
    Product,
    ProjectModel,
    ProjectModelList,
    SupportedModel,
    SupportedModelList,
    SupportedPricing,
    Task,
)
from tutti.features.ownership import missing
from tutti.features.paging import Cursor, CursorLimit, Page, cut
from tutti.http.context import caller
from tutti.platform import Platform

_TASKS: dict[ModelType, Task] = {
    "chat": "CAPABILITY_CHAT",
    "embedding": "CAPABILITY_EMBEDDING",
    "rerank": "CAPABILITY_RERANKING",
    "image": "CAPABILITY_IMAGE_GENERATION",
    "video": "CAPABILITY_VIDEO_GENERATION",
}
_FEATURES: dict[Capability, Feature] = {
    "tools": "FEATURE_TOOL_CALLING",
    "json": "FEATURE_STRUCTURED_OUTPUT",
    "reasoning": "FEATURE_REASONING",
}
_INPUTS: dict[Capability, Modality] = {
    "vision": "MODALITY_IMAGE",
    "audio": "MODALITY_AUDIO",
    "video": "MODALITY_VIDEO",
}
_OUTPUTS: dict[ModelType, Modality] = {
    "image": "MODALITY_IMAGE",
    "video": "MODALITY_VIDEO",
    "audio": "MODALITY_AUDIO",
}


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Models"])

    @routes.get(
        "/projects/{project_id}/models",
        operation_id="listProjectModels",
        summary="List a project's own models",
    )
    async def models(
        request: Request, project_id: str, after: Cursor = "", limit: CursorLimit = 100
    ) -> ProjectModelList:
        """List the models and adapters that were uploaded to the project, by name."""
        me = _member(request, project_id)
        page = _page(await _own(platform, me), after, limit)
        data = [_owned(it, me) for it in page.rows]
        return ProjectModelList(object="list", data=data, next_cursor=page.cursor(_name))

    @routes.get(
        "/projects/{project_id}/models/{id:path}",
        operation_id="retrieveProjectModel",
        summary="Describe one of a project's own models",
    )
    async def model(request: Request, project_id: str, id: str) -> ProjectModel:
        """Describe one of the project's models. Its id is its name."""
        me = _member(request, project_id)
        found = next((own for own in await _own(platform, me) if own.name == id), None)
        if found is None:
            raise missing("model", id)
        return _owned(found, me)

    @routes.get(
        "/supported-models", operation_id="listSupportedModels", summary="List the models that everybody has"
    )
    async def supported(
        request: Request,
        after: Cursor = "",
        limit: CursorLimit = 100,
        search: Annotated[str, Query(description="In the name, whatever its case.")] = "",
        modality: Annotated[Modality | None, Query(description="Only with this input.")] = None,
        product: Product | None = None,
    ) -> SupportedModelList:
        """List the catalogue of this server, without what projects have uploaded."""
        known = await platform.catalog.models(caller(request).project_id)
        served = [platform.dispatch.as_served(it) for it in known if it.project_id is None]
        described = {it.name: _supported(it) for it in served}
        wanted = [
            it
            for it in known
            if it.name in described
            and search.lower() in it.name.lower()
            and modality in (None, *described[it.name].input_modalities)
            and product in (None, *described[it.name].products)
        ]
        page = _page(wanted, after, limit)
        data = [described[it.name] for it in page.rows]
        return SupportedModelList(object="list", data=data, next_cursor=page.cursor(_name))

    return routes


def _member(request: Request, project_id: str) -> Caller:
    me = caller(request)
    if project_id != me.project_id:
        raise missing("project", project_id, "project_id")
    return me


async def _own(platform: Platform, me: Caller) -> list[Model]:
    models = await platform.catalog.models(me.project_id)
    return [platform.dispatch.as_served(it) for it in models if it.project_id == me.project_id]


def _page(models: Sequence[Model], after: str, limit: int) -> Page[Model]:
    """Return the page behind the name `after`. The models come in the order of their names."""
    return cut([model for model in models if model.name > after], limit)


def _name(model: Model) -> str:
    return model.name


def _owned(model: Model, me: Caller) -> ProjectModel:
    kind = "WEIGHTS_TYPE_ADAPTER" if model.adapter_of else "WEIGHTS_TYPE_DEFAULT"
    return ProjectModel(
        id=model.name,
        name=model.name,
        organization_id=me.organization_id,
        project_id=me.project_id,
        visibility="VISIBILITY_PRIVATE",
        weights=ModelWeights(type=kind, context_length=_length(model)),
        base_model_id=model.adapter_of,
    )


def _supported(model: Model) -> SupportedModel:
    text: Modality = "MODALITY_AUDIO" if model.type == "transcribe" else "MODALITY_TEXT"
    created = datetime.fromtimestamp(model.created, UTC)
    return SupportedModel(
        id=model.name,
        name=model.name,
        base_model="",
        base_model_id="",
        capabilities=[_TASKS[model.type]] if model.type in _TASKS else [],
        created_at=created,
        updated_at=created,
        deployment_profiles=[],
        display_name=model.display_name or model.name.rpartition("/")[2],
        display_type=model.type,
        input_modalities=[text, *(_INPUTS[it] for it in _INPUTS if it in model.capabilities)],
        output_modalities=[_OUTPUTS.get(model.type, "MODALITY_TEXT")],
        products=["PRODUCT_SERVERLESS"],
        publisher=model.organization or model.name.rpartition("/")[0],
        status="SUPPORTED_MODEL_STATUS_SUPPORTED",
        features=[_FEATURES[it] for it in _FEATURES if it in model.capabilities],
        context_length=_length(model),
        pricing=SupportedPricing(input=model.pricing.input, output=model.pricing.output),
    )


def _length(model: Model) -> str | None:
    return str(model.context_length) if model.context_length else None
