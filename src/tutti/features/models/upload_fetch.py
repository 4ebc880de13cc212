"""Fetches an upload's files to `place.files`. Run again, it goes on where it was cut short."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.describe import pinned
from tutti.catalog.pull.progress import PullProgress
from tutti.catalog.pull.pull import pull
from tutti.catalog.sources.base import DiskFull, PullFailed, SourceFailed, Unreachable
from tutti.catalog.sources.hub import HubFile, HubName, Listing, choose_files, has_gguf, list_repo
from tutti.catalog.sources.web import Web
from tutti.catalog.weights import BadWeights, check_weights, is_data, is_safe_name
from tutti.features.models.upload_place import Place
from tutti.features.models.upload_sources import PICKLES, HubSource, UrlSource
from tutti.features.programs import run_worker
from tutti.fetch.download import NotDownloaded, download
from tutti.fetch.fetch import Fetcher
from tutti.jobs.errors import Failed

MOST_BYTES = 2 * 1024**4
_EXPANDS = 20
"""Weights hardly compress: an archive that grows more than this is no model."""

Moved = Callable[[int, int], None]


async def fetch_repo(
    source: HubSource, place: Place, settings: Settings, token: str, moved: Moved, *, prefers_gguf: bool
) -> None:
    """Download the files of a repository with the client's own token, never the server's, which may open what
    the client may not see."""
    if place.files.exists():
        return
    asking = settings.model_copy(update={"hub_token": token})
    listing, files = await _chosen(source.name, asking, prefers_gguf=prefers_gguf)
    wanted = tuple(pinned(listing, file) for file in files)
    model = Model(name=f"{listing.repo}@{listing.commit}", type="language", engine="none", files=wanted)
    try:
        await pull(model, place.work, asking, {}, lambda progress: _pass_on(progress, moved))
    except DiskFull as error:
        raise Failed("The server has no room left for the model.") from error
    except PullFailed as error:
        raise Unavailable(str(error)) from error
    await asyncio.to_thread(place.work.rename, place.files)


async def fetch_url(source: UrlSource, place: Place, fetcher: Fetcher, moved: Moved) -> None:
    if place.files.exists():
        return
    try:
        await download(fetcher, source.url, place.download, MOST_BYTES, moved)
    except NotDownloaded as error:
        raise Failed(str(error)) from error
    await asyncio.to_thread(_verify, place.download, source)
    work = await asyncio.to_thread(place.fresh_work)
    if source.is_archive:
        limit = place.download.stat().st_size * _EXPANDS + (1 << 30)
        prefix = source.filename
        await run_worker("uploads.unpack", place.download, work, str(limit), log=place.log, prefix=prefix)
        await asyncio.to_thread(_keep_data, work, source.filename)
    else:
        os.link(place.download, work / "model.gguf")
    await asyncio.to_thread(_check, work)
    await asyncio.to_thread(_innermost(work).rename, place.files)
    await asyncio.to_thread(place.download.unlink)


def _verify(path: Path, source: UrlSource) -> None:
    if source.sha256:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != source.sha256:
            raise Failed(f"{source.filename} has the SHA-256 {found} instead of {source.sha256}.")


async def _chosen(
    name: HubName, settings: Settings, *, prefers_gguf: bool
) -> tuple[Listing, tuple[HubFile, ...]]:
    try:
        async with Web(settings) as web:
            listing = await list_repo(web, settings, name)
            gguf = has_gguf(listing) and (prefers_gguf or bool(name.rest) or not _has_safetensors(listing))
            _refuse_pickles(listing)
            return listing, choose_files(listing, name.rest, gguf=gguf)
    except Unreachable as error:
        raise Unavailable(str(error)) from error
    except SourceFailed as error:
        raise Failed(str(error)) from error


def _has_safetensors(listing: Listing) -> bool:
    return any(file.name.endswith(".safetensors") for file in listing.files)


def _refuse_pickles(listing: Listing) -> None:
    """Raise Failed if the repository's only weights are pickles. Beside others they do no harm: they are not
    fetched."""
    siblings: list[dict[str, Any]] = listing.about.get("siblings", [])
    names = [str(sibling.get("rfilename")) for sibling in siblings]
    if not has_gguf(listing) and not _has_safetensors(listing):
        _refuse(name for name in names if name.endswith(PICKLES))


def _refuse(pickles: Any) -> None:
    if name := next(iter(pickles), ""):
        raise Failed(f"{name} is a pickle, which can hold code: convert it to safetensors or GGUF.")


def _pass_on(progress: PullProgress, moved: Moved) -> None:
    moved(progress.done_bytes, progress.total_bytes)


def _keep_data(folder: Path, archive: str) -> None:
    """Delete all files of the archive but those of data formats. Raise Failed if no weights are left."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: str(path.relative_to(folder)) for path in files}
    if not any(name.endswith((".safetensors", ".gguf")) for name in names.values()):
        _refuse(name for name in names.values() if name.endswith(PICKLES))
        raise Failed(f"{archive} has no .safetensors or .gguf file in it.")
    for path, name in names.items():
        if not (is_safe_name(name) and is_data(name)):
            path.unlink()


def _check(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                check_weights(path, path.name)
            except BadWeights as error:
                raise Failed(f"{path.relative_to(folder)} is {error}.") from error


def _innermost(folder: Path) -> Path:
    """Return the folder that all files are in: archives often hold a single folder."""
    while True:
        entries = list(folder.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]
