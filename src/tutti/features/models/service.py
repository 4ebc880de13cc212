"""Catalogue entries in the shape of the API."""

from collections.abc import Callable

import msgspec

from tutti.base.errors import NotFound
from tutti.base.model import Model
from tutti.features.models.schemas import ModelInfo, Pricing, Status
from tutti.http.context import Family
from tutti.meeting.router import of_model
from tutti.platform import Platform


async def list_models(
    platform: Platform, project_id: str, family: Family, *, dedicated: bool
) -> list[ModelInfo]:
    """List the models: first those that the server was started with, then those on this machine, then those
    that it would download.

    `dedicated`: only models that have a dedicated endpoint, of which there are none yet.
    """
    models = [] if dedicated else await platform.catalog.models(project_id)
    preferred = {name: place for place, name in enumerate(platform.settings.models)}

    def rank(model: Model) -> tuple[int, bool]:
        return preferred.get(model.name, len(preferred)), not platform.catalog.is_pulled(model)

    status = await _statuses(platform)
    served = map(platform.dispatch.as_served, sorted(models, key=rank))
    return [_info(model, model.name, family, status(model)) for model in served]


async def retrieve_model(platform: Platform, project_id: str, family: Family, name: str) -> ModelInfo:
    """Describe one model under the name that was asked for, which may be an alias."""
    model = await platform.catalog.find(name, project_id)
    if model is None:
        raise NotFound(f"Model {name} does not exist.", param="model", code="model_not_found")
    status = await _statuses(platform)
    return _info(platform.dispatch.as_served(model), name, family, status(model))


async def _statuses(platform: Platform) -> Callable[[Model], Status]:
    """Return a function that gives the status of a model. The replicas are read once, for all models."""
    replicas = [replica for replica in await platform.dispatch.replicas() if replica.state == "ready"]

    def status(model: Model) -> Status:
        if of_model(replicas, model):
            return "loaded"
        return "downloaded" if platform.catalog.is_pulled(model) else "available"

    return status


def _info(model: Model, name: str, family: Family, status: Status) -> ModelInfo:
    owner = model.organization or name.rpartition("/")[0]
    return ModelInfo(
        id=name,
        object="model",
        created=model.created,
        type=model.type,
        display_name=model.display_name or name.rpartition("/")[2],
        organization=owner or None,
        link=model.link or None,
        license=model.license or None,
        context_length=model.context_length or None,
        pricing=Pricing(**msgspec.structs.asdict(model.pricing)),
        owned_by=(owner or "tutti") if family == "openai" else None,
        status=status,
    )
