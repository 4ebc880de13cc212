"""The plan of a pull: its files with their hashes, and a check that there is room for them."""

import shutil
from pathlib import Path

from tutti.base.model import Model, Source
from tutti.base.settings import Settings
from tutti.catalog.manifest import size_on_disk
from tutti.catalog.sources.base import DiskFull, PullFailed, SourceFailed, Wanted
from tutti.catalog.sources.hub import choose_files, list_repo, parse_hub
from tutti.catalog.sources.web import Web
from tutti.catalog.weights import is_data, is_safe_name
from tutti.engines.base import Engines
from tutti.fetch.resume import SPARE_BYTES


async def plan(model: Model, web: Web, settings: Settings, engines: Engines) -> list[Wanted]:
    """Return the files with their hashes. The hub is asked for what the entry does not say. Raises
    PullFailed."""
    if not model.files and model.hub is not None:
        engine = engines.get(model.engine)
        return await _plan_repo(model, web, settings, gguf=engine is not None and engine.weights == "gguf")
    wanted = [Wanted(f.name, f.sources, f.sha256, f.size_bytes) for f in model.files]
    for file in wanted:
        if not (is_safe_name(file.name) and is_data(file.name)):
            raise PullFailed(f"{model.name}: a file named {file.name!r} is not taken")
    known: dict[str, dict[str, Wanted]] = {}
    return [w if w.digest else await _ask_hub(w, known, web, settings) for w in wanted]


async def _plan_repo(model: Model, web: Web, settings: Settings, *, gguf: bool) -> list[Wanted]:
    name = parse_hub(model.hub or "")
    if name is None:
        raise PullFailed(f"{model.name}: {model.hub!r} is not a repository's name")
    try:
        listing = await list_repo(web, settings, name)
        files = choose_files(listing, name.rest, gguf=gguf)
    except SourceFailed as error:
        raise PullFailed(f"{model.name}: {error}") from error
    return [
        Wanted(f.local_name, (Source(hub=f"{name.repo}@{listing.commit}:{f.name}"),), f.digest, f.size_bytes)
        for f in files
    ]


async def _ask_hub(
    wanted: Wanted, known: dict[str, dict[str, Wanted]], web: Web, settings: Settings
) -> Wanted:
    """Take hash and size from the listing of the hub source, if there is one."""
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


def check_room(folder: Path, wanted: list[Wanted]) -> None:
    missing = sum(_missing_bytes(folder, file) for file in wanted)
    free = shutil.disk_usage(folder).free
    if missing and missing + SPARE_BYTES > free:
        raise DiskFull(f"{missing / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free in {folder}")


def _missing_bytes(folder: Path, wanted: Wanted) -> int:
    if any(source.path for source in wanted.sources):
        return 0
    there = max(size_on_disk(folder / wanted.name), size_on_disk(partial_path(folder, wanted)), 0)
    return max(0, wanted.size_bytes - there)


def partial_path(folder: Path, wanted: Wanted) -> Path:
    return folder / ".partial" / wanted.name
