"""The job of an upload: download, check, convert, and make it a model of the project."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.access.keys import sealer
from tutti.base.clock import now_s
from tutti.base.model import Model
from tutti.catalog.catalog import row_of
from tutti.catalog.entries import check_model
from tutti.catalog.pull.pull import pull
from tutti.catalog.sources.base import PullFailed
from tutti.features.models.upload_adapter import build_adapter
from tutti.features.models.upload_args import NAME, Sealed, UploadArgs
from tutti.features.models.upload_build import build_model, safetensors_engine
from tutti.features.models.upload_fetch import Moved, fetch_repo, fetch_url
from tutti.features.models.upload_place import Place, belongs_to, discard, install, place_of
from tutti.features.models.upload_sources import HubSource, parse_source
from tutti.http.inside import Inside
from tutti.jobs.errors import Failed
from tutti.jobs.job import Job
from tutti.jobs.kind import Ending, Kind
from tutti.platform import Platform
from tutti.store.secrets import SealBroken

_REPORT_S = 1.0
_STEP_PERCENT = 10


def model_upload(platform: Platform, _inside: Inside) -> Kind[UploadArgs]:
    return Kind(
        name=NAME,
        args=UploadArgs,
        run=partial(run, platform),
        settle=partial(_settle, platform),
        ended=_ended,
        limit=4,
        project_limit=2,
    )


async def run(platform: Platform, job: Job[UploadArgs]) -> None:
    """Fetch, check and convert the model. Running again is safe: downloads go on where they ended, every
    later step makes its result aside and renames it, and a model that is in its place already has the job's
    mark."""
    place = place_of(platform.settings, job.id)
    if "entry" in job.state and belongs_to(_folder(platform, job), job.id):
        return
    await asyncio.to_thread(place.root.mkdir, parents=True, exist_ok=True)
    base = await _base(platform, job)
    async with _reporting(job, "Downloading the files") as moved:
        converts = safetensors_engine(platform.engines, platform.settings) is None
        await _fetch(platform, job, place, moved, prefers_gguf=base is None and converts)
    if base is None:
        await job.tell(message="Checking and converting the model")
        built = await build_model(place, platform.settings, platform.engines)
    else:
        await _pull_base(platform, job, base)
        await job.tell(message=f"Checking the adapter against {base.name}")
        folder, engine = platform.catalog.folder(base), platform.engines.get(base.engine)
        if engine is None:
            raise Failed(f"This server does not have the engine of {base.name} any more.")
        built = await build_adapter(place, base, folder, engine)
    await job.save(entry=msgspec.to_builtins(_entry(built, job)))
    await asyncio.to_thread(install, place, _saved(job), _folder(platform, job), job.id)


async def _settle(platform: Platform, job: Job[UploadArgs], _ending: Ending) -> None:
    await asyncio.to_thread(discard, place_of(platform.settings, job.id))


async def _ended(session: AsyncSession, job: Job[UploadArgs], ending: Ending) -> None:
    if ending.status == "completed":
        await session.merge(row_of(_saved(job)))


# --- steps ------------------------------------------------------------------------------------------------


async def _base(platform: Platform, job: Job[UploadArgs]) -> Model | None:
    if job.args.base is None:
        return None
    base = await platform.catalog.named(job.args.base, job.project_id)
    if base is None:
        raise Failed(f"The base {job.args.base} is not there any more.")
    return base


async def _fetch(
    platform: Platform, job: Job[UploadArgs], place: Place, moved: Moved, *, prefers_gguf: bool
) -> None:
    try:
        opened = sealer(platform.settings).open(job.args.sealed, job.project_id)
    except SealBroken as error:
        raise Failed("The server's secret has changed since: start the upload again.") from error
    sealed = msgspec.json.decode(opened, type=Sealed)
    settings = platform.settings
    source = parse_source(sealed.source, settings.hub_url, platform.fetcher)
    if isinstance(source, HubSource):
        await fetch_repo(source, place, settings, sealed.hf_token, moved, prefers_gguf=prefers_gguf)
    else:
        await fetch_url(source, place, platform.fetcher, moved)


async def _pull_base(platform: Platform, job: Job[UploadArgs], base: Model) -> None:
    if platform.catalog.is_pulled(base):
        return
    if not platform.settings.pull_on_use:
        raise Failed(f"The base {base.name} is not on this server, which downloads nothing by itself.")
    async with _reporting(job, f"Downloading the base {base.name}") as moved:
        try:
            folder = platform.catalog.folder(base)
            await pull(
                base,
                folder,
                platform.settings,
                platform.engines,
                lambda progress: moved(progress.done_bytes, progress.total_bytes),
            )
        except PullFailed as error:
            raise Failed(f"The base {base.name} cannot be downloaded: {error}") from error


def _entry(built: Model, job: Job[UploadArgs]) -> Model:
    name = job.args.model_name
    owner, _, short = name.rpartition("/")
    options = {**built.options, "lora_module": job.args.model_id} if built.adapter_of else built.options
    entry = msgspec.structs.replace(
        built,
        name=name,
        project_id=job.project_id,
        display_name=short,
        organization=owner,
        link="",
        created=now_s(),
        options=options,
    )
    try:
        check_model(entry)
    except ValueError as error:
        raise Failed(f"The model's files cannot be taken: {error}.") from error
    return entry


def _saved(job: Job[UploadArgs]) -> Model:
    return msgspec.convert(job.state["entry"], Model)


def _folder(platform: Platform, job: Job[UploadArgs]) -> Path:
    return platform.catalog.folder(_saved(job))


# --- progress ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def _reporting(job: Job[UploadArgs], what: str) -> AsyncGenerator[Moved]:
    """Report every tenth of a download as the job's message. The function that this gives may be called from
    any thread, with the bytes done and all bytes."""
    progress = [0, 0]

    def moved(done: int, total: int) -> None:
        progress[:] = done, total

    async def report() -> None:
        reported = 0
        while True:
            await asyncio.sleep(_REPORT_S)
            done, total = progress
            percent = 100 * done // total // _STEP_PERCENT * _STEP_PERCENT if total else 0
            if percent > reported:
                reported = percent
                await job.tell(message=f"{what}: {percent}% of {total / 1e6:.0f} MB")

    await job.tell(message=what)
    reporting = asyncio.create_task(report())
    try:
        yield moved
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
