"""Catalogue entries for models that are in no catalogue: repositories of the hub, and local files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from tutti.base.clock import now_s
from tutti.base.gguf import BadGguf, Gguf, read_gguf
from tutti.base.model import Capability, Model, ModelFile, ModelType, Source
from tutti.base.settings import Settings
from tutti.catalog.sources.base import PullFailed, SourceFailed
from tutti.catalog.sources.hub import (
    SHARD,
    HubFile,
    HubName,
    Listing,
    choose_files,
    file_url,
    has_gguf,
    list_repo,
    parse_hub,
)
from tutti.catalog.sources.web import Web
from tutti.catalog.weights import BadWeights, is_data, is_safe_name, read_json
from tutti.engines.base import Engines
from tutti.engines.files import Weights

_TYPES: Mapping[str, ModelType] = {
    "feature-extraction": "embedding",
    "sentence-similarity": "embedding",
    "text-ranking": "rerank",
}
_RERANK_POOLING = 4  # llama.cpp's LLAMA_POOLING_TYPE_RANK


async def describe(name: str, settings: Settings, engines: Engines) -> Model:
    """Make an entry for the engine that runs such files. `name`: owner/repo, owner/repo@revision,
    owner/repo:QUANT, owner/repo:file.gguf, or the path of a .gguf file or of a folder of safetensors. Files
    are pinned to the commit that the hub has now. Raises PullFailed."""
    path = Path(name).expanduser()
    if path.exists():
        return describe_path(path.resolve(), engines)
    hub = parse_hub(name)
    if hub is None:
        raise PullFailed(f"{name} is neither a file here nor a repository's name such as owner/repo")
    async with Web(settings) as web:
        try:
            listing = await list_repo(web, settings, hub)
            return await _of_listing(name, hub, listing, web, settings, engines)
        except SourceFailed as error:
            raise PullFailed(f"{name}: {error}") from error


def _engine_for(weights: Weights, engines: Engines) -> str:
    """Return the name of the first engine of the table that runs any model with such weights."""
    for name, engine in engines.items():
        if engine.weights == weights:
            return name
    raise PullFailed(f"no engine of this server runs {weights} files")


# --- from a hub -------------------------------------------------------------------------------------------


async def _of_listing(
    name: str, hub: HubName, listing: Listing, web: Web, settings: Settings, engines: Engines
) -> Model:
    gguf = has_gguf(listing) and not (hub.rest == "" and _has_snapshot(listing))
    files = choose_files(listing, hub.rest, gguf=gguf)
    context, template = _about_gguf(listing) if gguf else await _about_snapshot(listing, web, settings)
    kind = _TYPES.get(str(listing.about.get("pipeline_tag")), "chat" if template else "language")
    return Model(
        name=name,
        type=kind,
        engine=_engine_for("gguf" if gguf else "safetensors", engines),
        files=tuple(pinned(listing, file) for file in files),
        context_length=context,
        license=_license(listing),
        display_name=hub.repo.split("/")[1],
        organization=hub.repo.split("/")[0],
        link=f"{settings.hub_url.rstrip('/')}/{hub.repo}",
        created=now_s(),
        capabilities=_capabilities(kind, template),
    )


def _has_snapshot(listing: Listing) -> bool:
    return any(file.name.endswith(".safetensors") and "/" not in file.name for file in listing.files)


def pinned(listing: Listing, file: HubFile) -> ModelFile:
    """Return the file as an entry has it, pinned to the commit of the listing."""
    source = Source(hub=f"{listing.repo}@{listing.commit}:{file.name}")
    sha256 = file.digest if len(file.digest) == 64 else ""  # else a git hash, which the pull asks for again
    return ModelFile(file.local_name, (source,), sha256, file.size_bytes)


def _license(listing: Listing) -> str:
    found = _at(listing.about, "cardData", "license")
    return found if isinstance(found, str) else ""


def _about_gguf(listing: Listing) -> tuple[int, str]:
    """Return context length and chat template, which the hub has read from the file's header."""
    context, template = (
        _at(listing.about, "gguf", "context_length"),
        _at(listing.about, "gguf", "chat_template"),
    )
    return context if isinstance(context, int) else 0, template if isinstance(template, str) else ""


async def _about_snapshot(listing: Listing, web: Web, settings: Settings) -> tuple[int, str]:
    names = {file.name for file in listing.files}
    context = 0
    if "config.json" in names:
        url = file_url(settings, HubName(listing.repo, listing.commit, "config.json"))
        context = _context_of(await web.json(url))
    about = listing.about
    for template in (
        _at(about, "config", "chat_template_jinja"),
        _at(about, "config", "tokenizer_config", "chat_template"),
    ):
        if isinstance(template, str):
            return context, template
    return context, "unknown" if "chat_template.jinja" in names else ""


def _context_of(config: Any) -> int:
    for found in (
        _at(config, "max_position_embeddings"),
        _at(config, "text_config", "max_position_embeddings"),
    ):
        if isinstance(found, int):
            return found
    return 0


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = cast(dict[str, Any], value).get(key) if isinstance(value, dict) else None
    return value


def _capabilities(kind: ModelType, template: str) -> frozenset[Capability]:
    if kind not in ("chat", "language"):
        return frozenset()
    found: set[Capability] = {"json"}
    if "tools" in template:
        found.add("tools")
    if "<think>" in template or "enable_thinking" in template or "<|channel|>" in template:
        found.add("reasoning")
    return frozenset(found)


# --- from this machine ------------------------------------------------------------------------------------


def describe_path(path: Path, engines: Engines) -> Model:
    """Make an entry for a .gguf file or a folder of safetensors. Raises PullFailed."""
    if path.is_file() and path.suffix == ".gguf":
        return _of_gguf(path, _engine_for("gguf", engines))
    if path.is_dir() and any(path.glob("*.safetensors")):
        return _of_folder(path, _engine_for("safetensors", engines))
    raise PullFailed(f"{path} is neither a .gguf file nor a folder of safetensors")


def _of_gguf(path: Path, engine: str) -> Model:
    try:
        header = read_gguf(path)
    except BadGguf as error:
        raise PullFailed(f"{path} is not a sound GGUF file: {error}") from error
    shard = SHARD.search(path.name)
    stem = path.name[: shard.start()] if shard else path.stem
    parts = sorted(p for p in path.parent.glob("*.gguf") if SHARD.fullmatch(p.name.removeprefix(stem)))
    if shard and len(parts) != int(shard[2]):
        raise PullFailed(f"{len(parts)} of the {int(shard[2])} parts of {stem} are in {path.parent}")
    architecture = header.text("general.architecture")
    template = header.text("tokenizer.chat_template")
    kind = _kind_of_gguf(header, architecture, template)
    return Model(
        name=_plain(stem),
        type=kind,
        engine=engine,
        files=tuple(
            _linked(part, _plain(stem) + part.name[len(stem) :]) for part in (parts if shard else [path])
        ),
        context_length=header.number(f"{architecture}.context_length"),
        license=header.text("general.license"),
        display_name=header.text("general.name") or stem,
        organization=header.text("general.organization"),
        created=int(path.stat().st_mtime),
        capabilities=_capabilities(kind, template),
    )


def _kind_of_gguf(header: Gguf, architecture: str, template: str) -> ModelType:
    pooling = header.number(f"{architecture}.pooling_type")
    if pooling == _RERANK_POOLING:
        return "rerank"
    if pooling or "bert" in architecture:
        return "embedding"
    return "chat" if template else "language"


def _of_folder(path: Path, engine: str) -> Model:
    names = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    files = [_linked(path / name, name) for name in names if is_safe_name(name) and is_data(name)]
    config = _read_json(path / "config.json")
    template = str(_at(_read_json(path / "tokenizer_config.json"), "chat_template") or "")
    template = template or ("unknown" if (path / "chat_template.jinja").exists() else "")
    kind: ModelType = "embedding" if (path / "modules.json").exists() else "chat" if template else "language"
    return Model(
        name=_plain(path.name),
        type=kind,
        engine=engine,
        files=tuple(files),
        context_length=_context_of(config),
        display_name=path.name,
        created=int(path.stat().st_mtime),
        capabilities=_capabilities(kind, template),
    )


def _plain(name: str) -> str:
    """Return the name with dashes for all characters that names in the catalogue cannot have."""
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).lstrip(".-") or "model"


def _linked(path: Path, name: str) -> ModelFile:
    return ModelFile(name, (Source(path=str(path)),), "", path.stat().st_size)


def _read_json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, BadWeights):
        return None
