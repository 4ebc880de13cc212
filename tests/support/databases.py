"""Fixtures for tests on SQLite and on PostgreSQL. A conftest.py imports those it needs."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from tests.support.postgres import drop_database, empty_database, postgres_url
from tests.support.template import migrated_file

from tutti.base.settings import Settings
from tutti.store.db import Database
from tutti.store.migrate import migrate

Kind = Literal["sqlite", "postgresql"]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="session")
def migrated() -> "Migrated":
    return Migrated()


@pytest.fixture
async def empty_url(kind: Kind, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the URL of a database without tables."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/data/tutti.db"
        return
    name = await empty_database()
    yield postgres_url(name)
    await drop_database(name)


@pytest.fixture
async def database(kind: Kind, tmp_path: Path, migrated: "Migrated") -> AsyncIterator[Database]:
    """Yield a database with the newest schema."""
    async with migrated.copy(kind, tmp_path / "data" / "tutti.db") as url:
        database = await Database.open(url)
        yield database
        await database.close()


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    return Settings(data_dir=tmp_path / "data", database_url=database.url)


class Migrated:
    """Migrated databases, one of each kind, made when first used: a migration takes most of a second."""

    def __init__(self) -> None:
        self._postgres = ""

    @asynccontextmanager
    async def copy(self, kind: Kind, path: Path) -> AsyncIterator[str]:
        """Yield the URL of a copy: in the file `path`, or in the PostgreSQL server."""
        if kind == "sqlite":
            path.parent.mkdir(parents=True)
            shutil.copy(await asyncio.to_thread(migrated_file), path)
            yield f"sqlite:///{path}"
            return
        name = await empty_database(await self._postgres_name())
        yield postgres_url(name)
        await drop_database(name)

    async def _postgres_name(self) -> str:
        if not self._postgres:
            self._postgres = await empty_database()
            database = await Database.open(postgres_url(self._postgres))
            await migrate(database)
            await database.close()
        return self._postgres
