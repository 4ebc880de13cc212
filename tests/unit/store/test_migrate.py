"""Migrations, on SQLite and PostgreSQL."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select, text

from tutti.access.keys import DEFAULT_ORGANIZATION_ID, DEFAULT_PROJECT_ID
from tutti.base.errors import InternalError
from tutti.store import migrations
from tutti.store.db import Database, sqlite_path
from tutti.store.migrate import HEAD, migrate, revision
from tutti.store.records import Project, Record

SCRIPTS = Path(migrations.__file__).parent


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return compare_metadata(context, Record.metadata)


async def test_the_migrated_schema_is_the_records_schema(database: Database) -> None:
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_default_project_exists(database: Database) -> None:
    async with database.read() as session:
        project = await session.get(Project, DEFAULT_PROJECT_ID)
    assert project is not None
    assert (project.organization_id, project.slug) == (DEFAULT_ORGANIZATION_ID, "default")


async def test_migrating_again_changes_nothing(database: Database) -> None:
    await migrate(database)
    async with database.read() as session:
        assert list(await session.scalars(select(Project.id))) == [DEFAULT_PROJECT_ID]


async def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    databases = await asyncio.gather(*(Database.open(empty_url) for _ in range(3)))
    await asyncio.gather(*(migrate(database) for database in databases))
    assert {await revision(database) for database in databases} == {HEAD}
    async with databases[0].read() as session:
        assert list(await session.scalars(select(Project.id))) == [DEFAULT_PROJECT_ID]
    await asyncio.gather(*(database.close() for database in databases))


async def test_a_database_of_a_newer_server_is_refused(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InternalError, match="9999"):
        await migrate(database)


async def test_sqlite_gets_a_write_ahead_log(database: Database) -> None:
    if sqlite_path(database.url) is None:
        return
    async with database.read() as session:
        await session.execute(select(Project.id))  # the mode is known once the file was read
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"


def test_head_is_the_newest_revision() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_heads() == [HEAD]


def test_the_fast_path_does_not_load_alembic() -> None:
    program = "import sys, tutti.store.migrate; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
