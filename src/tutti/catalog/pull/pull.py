"""Pulling a model's files into its folder: resumed, verified, and safe against other processes that do the
same.

A file is written to `<folder>/.partial/`, checked, and renamed to its place; `complete.json` comes last. A
lock beside the folder lets one process pull while others wait and then find the work done.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import filelock

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.manifest import Manifest, is_complete, write_manifest
from tutti.catalog.pull.files import PullJob, obtain
from tutti.catalog.pull.plan import check_room, plan
from tutti.catalog.pull.progress import Meter, PullProgress, Report
from tutti.catalog.sources.web import Web
from tutti.engines.base import Engines

_LOCK_LOOK_S = 0.2


async def pull(model: Model, folder: Path, settings: Settings, engines: Engines, report: Report) -> None:
    """Bring the model's files into the folder, unless they are there. Raises PullFailed; what is worth
    keeping of a broken download is kept, and the next pull continues it. `report` is called from several
    threads."""
    if is_complete(model, folder):
        return
    await asyncio.to_thread(folder.parent.mkdir, parents=True, exist_ok=True)
    async with _locked(folder, report), Web(settings) as web:
        if is_complete(model, folder):
            return
        await asyncio.to_thread(folder.mkdir, exist_ok=True)
        wanted = await plan(model, web, settings, engines)
        job = PullJob(model, folder, settings, web, Meter(report, sum(w.size_bytes for w in wanted)))
        await asyncio.to_thread(check_room, folder, wanted)
        files = tuple([await obtain(file, job) for file in wanted])
        await asyncio.to_thread(_complete, folder, Manifest(model.name, model.hub, files))
        job.meter.done()


def lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


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
