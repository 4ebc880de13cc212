"""Uploads of models and adapters as they are accepted. The job in job.py does the work."""

import re

import msgspec
from sqlalchemy import select

from tutti.access.keys import sealer
from tutti.base.errors import Conflict, InvalidRequest
from tutti.base.ids import new_id
from tutti.base.model import TEXT_TYPES
from tutti.features.models.schemas import ModelUpload, ModelUploadRequest, ModelUploadSuccessResponse
from tutti.features.models.upload_args import NAME, Sealed, UploadArgs
from tutti.features.models.upload_sources import kind_of, parse_source, shown
from tutti.features.ownership import missing
from tutti.jobs.queue import check_queue, enqueue
from tutti.jobs.states import UNFINISHED
from tutti.platform import Platform
from tutti.store.records import JobRow, Project

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


async def upload(
    platform: Platform, project_id: str, request: ModelUploadRequest
) -> ModelUploadSuccessResponse:
    """Enqueue an upload. The answer has the model's full name: the one asked for if it has an owner,
    otherwise with the project's slug in front. Raise Conflict if there is such a model, or such an upload on
    its way."""
    parse_source(request.model_source, platform.settings.hub_url, platform.fetcher)
    name = await _full_name(platform, project_id, request.model_name)
    args = UploadArgs(
        model_name=name,
        model_id=new_id("model"),
        source=shown(request.model_source),
        description=request.description,
        base=await _base(platform, project_id, request),
        sealed=_sealed(platform, project_id, request),
    )
    if await platform.catalog.named(name, project_id) is not None:
        raise Conflict(f"There is already a model {name}.", param="model_name", code="model_exists")
    async with platform.database.begin() as session:
        same = select(JobRow.args).where(
            JobRow.project_id == project_id, JobRow.kind == NAME, JobRow.status.in_(UNFINISHED)
        )
        if any(it.get("model_name") == name for it in await session.scalars(same)):
            raise Conflict(f"{name} is being uploaded already.", param="model_name", code="model_exists")
        await check_queue(session, project_id, platform.settings.project_jobs)
        job_id = await enqueue(session, NAME, args, project_id=project_id)
    return ModelUploadSuccessResponse(
        data=ModelUpload(
            job_id=job_id, model_name=name, model_id=args.model_id, model_source=kind_of(request.model_source)
        ),
        message="Processing model weights. Job created.",
    )


async def _full_name(platform: Platform, project_id: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "A model's name has letters, digits, dots, dashes and underscores, and at most one `/`.",
            param="model_name",
        )
    if "/" in name:
        return name
    async with platform.database.read() as session:
        slug = await session.scalar(select(Project.slug).where(Project.id == project_id))
    return f"{slug or project_id}/{name}"


async def _base(platform: Platform, project_id: str, request: ModelUploadRequest) -> str | None:
    """Return the permanent name of an adapter's base, for which an alias may have been given; None for a
    model. Raise InvalidRequest or NotFound if the base can't be used."""
    if request.model_type != "adapter":
        return None
    name, param = request.base_model or request.lora_model, "base_model"
    if not name:
        raise InvalidRequest("An adapter needs its base_model.", param=param)
    base = await platform.catalog.find(name, project_id)
    if base is None:
        raise missing("model", name, param)
    engine = platform.engines.get(base.engine)
    takes_adapters = engine is not None and engine.adapters is not None
    if not takes_adapters or base.type not in TEXT_TYPES or base.adapter_of is not None:
        raise InvalidRequest(
            f"Adapters can't be used on {name}: it is no text model of its own.", param=param
        )
    return base.name


def _sealed(platform: Platform, project_id: str, request: ModelUploadRequest) -> str:
    """Seal the source and the token. The source may be a signed address, which is as good as a password."""
    whole = Sealed(request.model_source, request.hf_token or "")
    return sealer(platform.settings).seal(msgspec.json.encode(whole).decode(), project_id)
