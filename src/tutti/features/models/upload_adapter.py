"""Adapters from uploaded files: compared with their base, and converted if its engine needs that."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tutti.base.gguf import BadGguf, Gguf, read_gguf
from tutti.base.model import Model
from tutti.catalog.weights import BadWeights, read_json
from tutti.engines.base import Engine
from tutti.engines.files import ADAPTER_FILE
from tutti.features.models.upload_place import Place, sizes
from tutti.features.programs import run_worker
from tutti.jobs.errors import Failed

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_MOST_RANK = 512


async def build_adapter(place: Place, base: Model, base_folder: Path, engine: Engine) -> Model:
    """Make the adapter in `place.model`, and return an entry like its base's. Raise Failed if they don't
    fit."""
    shutil.rmtree(place.model, ignore_errors=True)
    work = await asyncio.to_thread(place.fresh_work)
    config = place.files / ADAPTER_CONFIG
    if not config.exists() and (ggufs := sorted(place.files.glob("*.gguf"))):
        rank = await asyncio.to_thread(_take_gguf, ggufs, base, base_folder, work, engine)
    elif config.exists() and (place.files / ADAPTER_WEIGHTS).exists():
        rank = _rank(_read_config(config))
        await _take_peft(place, base, base_folder, work, engine)
    else:
        raise Failed(f"An adapter needs {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, as PEFT writes them.")
    await asyncio.to_thread(work.rename, place.model)
    return msgspec.structs.replace(
        base,
        files=sizes(place.model),
        hub=None,
        memory_bytes=0,
        adapter_of=base.name,
        options={**base.options, "lora_rank": rank},
    )


async def _take_peft(place: Place, base: Model, base_folder: Path, work: Path, engine: Engine) -> None:
    """Check an adapter as PEFT writes it, and convert it unless the engine reads that format."""
    prefix = f"The adapter cannot be used on {base.name}"
    if engine.adapters == "peft":
        await run_worker("uploads.lora", place.files, base_folder, log=place.log, prefix=prefix)
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            os.link(place.files / name, work / name)
        return
    about = place.root / "base.json"
    about.write_bytes(msgspec.json.encode(await asyncio.to_thread(facts_of, base, base_folder, engine)))
    await run_worker("uploads.lora", place.files, work / ADAPTER_FILE, about, log=place.log, prefix=prefix)


def _take_gguf(files: Sequence[Path], base: Model, base_folder: Path, work: Path, engine: Engine) -> int:
    """Take an adapter that llama.cpp's own tool has converted, and return its rank. Raise Failed."""
    header = header_of(files[0])
    if engine.adapters != "gguf" or len(files) != 1 or header.text("adapter.type") != "lora":
        raise Failed(f"It is no LoRA adapter that {base.engine}, which serves {base.name}, can use.")
    facts = facts_of(base, base_folder, engine)
    if header.text("general.architecture") != facts["architecture"]:
        found = header.text("general.architecture")
        raise Failed(f"The adapter is for a {found}, and {base.name} is a {facts['architecture']}.")
    ranks = [
        _rank_of(name, header.shapes, facts["shapes"], base)
        for name in header.shapes
        if name.endswith(".lora_a")
    ]
    if not ranks or 2 * len(ranks) != len(header.shapes):
        raise Failed("The adapter has tensors that are no part of a LoRA.")
    os.link(files[0], work / ADAPTER_FILE)
    return max(ranks)


def _rank_of(
    name: str, shapes: Mapping[str, Sequence[int]], of_base: Mapping[str, Sequence[int]], base: Model
) -> int:
    target = name.removesuffix(".lora_a")
    a, b = list(shapes[name]), list(shapes.get(f"{target}.lora_b", ()))
    if len(a) != 2 or len(b) != 2 or a[1] != b[0] or [b[1], a[0]] != list(of_base.get(target, ())):
        raise Failed(
            f"The adapter's tensors for {target} do not fit {base.name}: it was made for another base."
        )
    return a[1]


def facts_of(base: Model, folder: Path, engine: Engine) -> dict[str, Any]:
    """Return the facts of the base that workers/uploads/lora needs."""
    headers = [header_of(path) for path in engine.gguf_files(base, folder)]
    if not headers:
        raise Failed(f"The base {base.name} has no GGUF file here.")
    first = next(header for header in headers if header.text("general.architecture"))
    architecture = first.text("general.architecture")
    heads = first.number(f"{architecture}.attention.head_count")
    return {
        "architecture": architecture,
        "layers": first.number(f"{architecture}.block_count"),
        "heads": heads,
        "heads_kv": first.number(f"{architecture}.attention.head_count_kv") or heads,
        "shapes": {
            name: [shape[1], shape[0]]
            for header in headers
            for name, shape in header.shapes.items()
            if len(shape) == 2
        },
    }


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        return msgspec.convert(read_json(path), dict[str, Any])
    except (BadWeights, msgspec.MsgspecError) as error:
        raise Failed(f"{ADAPTER_CONFIG} cannot be read: {error}.") from error


def _rank(config: Mapping[str, Any]) -> int:
    patterns: Mapping[str, Any] = config.get("rank_pattern") or {}
    try:
        rank = max([int(config["r"]), *map(int, patterns.values())])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Failed(f"{ADAPTER_CONFIG} does not say the rank r.") from None
    if not 0 < rank <= _MOST_RANK:
        raise Failed(f"The adapter's rank is {rank}; at most {_MOST_RANK} is taken.")
    return rank


def header_of(path: Path) -> Gguf:
    try:
        return read_gguf(path)
    except BadGguf as error:
        raise Failed(f"{path.name} is not a sound GGUF file: {error}.") from error
