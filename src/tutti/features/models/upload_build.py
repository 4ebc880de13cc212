"""Models from uploaded files: checked, and converted if no engine can serve them as they are."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.describe import describe_path
from tutti.catalog.sources.base import PullFailed
from tutti.catalog.sources.hub import SHARD
from tutti.catalog.weights import BadWeights, is_data, read_json
from tutti.engines.base import Engine, Engines
from tutti.features.models.upload_adapter import ADAPTER_CONFIG, header_of
from tutti.features.models.upload_place import Place, sizes
from tutti.features.programs import run, run_worker
from tutti.jobs.errors import Failed

_BESIDES = ("mmproj", "imatrix")
"""Helpers that lie beside the weights."""


class _Config(msgspec.Struct, frozen=True):
    architectures: tuple[str, ...] = ()


def safetensors_engine(engines: Engines, settings: Settings) -> Engine | None:
    """Return the engine here that runs safetensors as they are. None: they have to be converted."""
    found = (it for it in engines.values() if it.weights == "safetensors" and it.is_installed(settings))
    return next(found, None)


async def build_model(place: Place, settings: Settings, engines: Engines) -> Model:
    """Make the model in `place.model`, and return its entry. Raise Failed if no engine here can serve it."""
    shutil.rmtree(place.model, ignore_errors=True)
    work = await asyncio.to_thread(place.fresh_work)
    ggufs = _parts(place.files)
    if (place.files / ADAPTER_CONFIG).exists():
        raise Failed("This is an adapter: upload it with model_type adapter and its base_model.")
    if ggufs:
        await _check_gguf(ggufs, place)
        await asyncio.to_thread(_link, ggufs, work)
    elif not (place.files / "config.json").exists():
        raise Failed("There is no config.json beside the safetensors.")
    elif engine := safetensors_engine(engines, settings):
        await _check_architecture(place, engine.architecture_check(settings))
        await asyncio.to_thread(_link, _data_files(place.files), work)
    else:
        arguments = (place.files, work / "model.gguf")
        await run_worker("uploads.convert", *arguments, log=place.log, prefix="The model cannot be converted")
    return await asyncio.to_thread(_described, work, place.model, engines)


def _parts(folder: Path) -> list[Path]:
    """Return the GGUF file, or all parts of one model. Raise Failed for several models."""
    found = sorted(path for path in folder.glob("*.gguf") if not path.name.startswith(_BESIDES))
    if len({SHARD.sub("", path.name) for path in found}) > 1:
        names = ", ".join(path.name for path in found)
        raise Failed(f"There are several models: {names}. Upload them one by one.")
    return found


async def _check_gguf(files: Sequence[Path], place: Place) -> None:
    header = await asyncio.to_thread(header_of, files[0])
    if header.text("general.type") == "adapter":
        raise Failed("This is an adapter: upload it with model_type adapter and its base_model.")
    await run_worker("uploads.convert", files[0], log=place.log, prefix="The model cannot be served")


async def _check_architecture(place: Place, command: Sequence[str]) -> None:
    """Ask the engine itself if it knows the architecture, which may take seconds. Raise Failed if not."""
    prefix = "The model cannot be served"
    try:
        config = msgspec.convert(read_json(place.files / "config.json"), _Config)
    except (BadWeights, msgspec.MsgspecError) as error:
        raise Failed(f"config.json cannot be read: {error}.") from error
    if command:
        await run(*command, *config.architectures, log=place.log, prefix=prefix)


def _described(work: Path, target: Path, engines: Engines) -> Model:
    ggufs = sorted(work.glob("*.gguf"))
    try:
        model = describe_path(ggufs[0] if ggufs else work, engines)
    except PullFailed as error:
        raise Failed(f"The model cannot be served: {error}".replace(str(work), "it")) from error
    work.rename(target)
    return msgspec.structs.replace(model, files=sizes(target))


def _data_files(folder: Path) -> list[Path]:
    """Return the files that engines read. complete.json is only the mark of a finished download."""
    files = [path for path in folder.iterdir() if path.is_file() and is_data(path.name)]
    return sorted(path for path in files if path.name != "complete.json")


def _link(files: Sequence[Path], folder: Path) -> None:
    for path in files:
        os.link(path, folder / path.name)
