"""The catalogue: all models and the names by which they can be asked for.

A name means, in this order: an exact alias; a model that was added at run time (the project's own first), one
of the user's catalogue file or of the setting `models`; an alias with a wildcard; a model of the package's
catalogue; the alias `*`.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import delete, func, select

from tutti.base.clock import now
from tutti.base.fresh import Fresh
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.aliases import catch_all_alias, exact_alias, pattern_alias
from tutti.catalog.entries import BrokenCatalogue, check_engine, check_model, read_catalogue
from tutti.catalog.manifest import is_complete
from tutti.engines.base import Engines
from tutti.store.db import Database
from tutti.store.records import CustomModel

FRESH_S = 1.0
"""The time after which every process knows a row that was added."""
_VERSION = select(func.count(), func.max(CustomModel.created_at))
_log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A model's project (empty: everybody's) and name."""


class _Rows(NamedTuple):
    version: Sequence[Any]
    """The version of the table: how many rows there are, and when the newest was added."""
    models: Mapping[Key, Model]


class Catalog:
    """The catalogue of a process. It reads the files once, and looks once a second whether the rows have
    changed."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Read the catalogue files. Raises BrokenCatalogue for the user's file."""
        self._settings = settings
        self._database = database
        self._shipped = shipped_models()
        self._own = read_catalogue(settings.catalog, self._shipped) if settings.catalog else {}
        self._preferred = {*self._own, *settings.models}
        self._static = {**self._shipped, **self._own}
        self._rows = _Rows((0, None), {})
        self._fresh = Fresh(self._read, FRESH_S)

    def check(self, engines: Engines) -> None:
        """Raise BrokenCatalogue unless every entry of the user's file is one that its engine understands."""
        for name, model in self._own.items():
            try:
                check_engine(model, engines)
            except ValueError as error:
                raise BrokenCatalogue(
                    f"catalogue {self._settings.catalog}: entry {name!r}: {error}"
                ) from error

    async def find(self, name: str, project_id: str = "") -> Model | None:
        await self._refresh()
        aliases = self._settings.aliases
        if (target := exact_alias(aliases, name)) is not None:
            return self._named(target, project_id)
        added = self._added(name, project_id)
        if added is not None or name in self._preferred:
            return added or self._static.get(name)
        if (target := pattern_alias(aliases, name)) is not None:
            return self._named(target, project_id)
        if (model := self._static.get(name)) is not None:
            return model
        target = catch_all_alias(aliases, name)
        return self._named(target, project_id) if target is not None else None

    async def models(self, project_id: str = "") -> list[Model]:
        """Return all models that the project can see, by name."""
        await self._refresh()
        seen = dict(self._static)
        for owner in ("", project_id):
            seen |= {name: model for (project, name), model in self._rows.models.items() if project == owner}
        return [seen[name] for name in sorted(seen)]

    async def add(self, model: Model) -> None:
        """Add a model, or replace that of this name and project. Raises ValueError for a broken entry."""
        check_model(model)
        async with self._database.begin() as session:
            await session.merge(row_of(model))
        self._fresh.forget()

    async def remove(self, name: str, project_id: str = "") -> None:
        """Remove a model that was added, if there is one. Models of the files stay."""
        this = (CustomModel.name == name) & (CustomModel.project_id == project_id)
        async with self._database.begin() as session:
            await session.execute(delete(CustomModel).where(this))
        self._fresh.forget()

    async def named(self, name: str, project_id: str = "") -> Model | None:
        """Return the model of just this name: aliases do not count."""
        await self._refresh()
        return self._named(name, project_id)

    def folder(self, model: Model) -> Path:
        """Return the folder for the model's weights, whether or not they are there."""
        return models_folder(self._settings) / folder_name(model)

    def is_pulled(self, model: Model) -> bool:
        return is_complete(model, self.folder(model))

    def _named(self, name: str, project_id: str) -> Model | None:
        return self._added(name, project_id) or self._static.get(name)

    def _added(self, name: str, project_id: str) -> Model | None:
        return self._rows.models.get((project_id, name)) or self._rows.models.get(("", name))

    async def _refresh(self) -> None:
        self._rows = await self._fresh.get()

    async def _read(self) -> "_Rows":
        version = (await self._database.poll(_VERSION))[0]
        if version == self._rows.version:
            return self._rows
        return _Rows(version, await self._read_models())

    async def _read_models(self) -> dict[Key, Model]:
        async with self._database.read() as session:
            rows = (await session.execute(select(CustomModel))).scalars().all()
        models: dict[Key, Model] = {}
        for row in rows:
            try:
                models[row.project_id, row.name] = msgspec.convert(row.entry, Model)
            except msgspec.ValidationError as error:
                _log.error(
                    "a model's row is broken and left out",
                    extra={"model": row.name, "project_id": row.project_id, "cause": str(error)},
                )
        return models


def shipped_models() -> dict[str, Model]:
    with as_file(files("tutti.catalog") / "catalogue.toml") as path:
        return read_catalogue(path, {})


def row_of(model: Model) -> CustomModel:
    entry: dict[str, Any] = msgspec.to_builtins(model)
    return CustomModel(name=model.name, project_id=model.project_id or "", entry=entry, created_at=now())


def models_folder(settings: Settings) -> Path:
    return settings.data_dir / "models"


def folder_name(model: Model) -> str:
    """Return the folder name for a model, `owner--name`. What is no letter, digit, dot, dash or underscore
    becomes %XX, and so do dashes that could be taken for the separator: two models never have the same
    folder."""
    name = re.sub(
        r"[^\w./-]|(?<=[-/])-|-(?=[-/])|^\.", lambda m: f"%{ord(m[0]):02X}", model.name, flags=re.ASCII
    )
    owner = f"{model.project_id}%2F" if model.project_id else ""
    return owner + name.replace("/", "--")
