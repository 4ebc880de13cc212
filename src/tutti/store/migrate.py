"""Bringing the schema up to date at start."""

import asyncio
import os
import sys

from sqlalchemy import Connection, inspect, text

from tutti.base.errors import InternalError
from tutti.store.db import Database

HEAD = "0004"
"""The newest revision in migrations/versions; a test compares it."""


async def migrate(database: Database) -> None:
    """Bring the schema up to date. Any number of processes may call it at once. Alembic is loaded (in a
    process of its own) only where there is something to do. Raises InternalError with the output of the
    migration."""
    if await revision(database) == HEAD:
        return
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tutti.store.migrations",
        env={**os.environ, "TUTTI_DATABASE_URL": database.url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode:
        raise InternalError(f"The database could not be migrated: {errors.decode(errors='replace')[-2000:]}")


async def revision(database: Database) -> str | None:
    """Return the revision of the schema; None before the first migration."""
    async with database.read() as session:
        connection = await session.connection()
        if not await connection.run_sync(_has_versions):
            return None
        return await session.scalar(text("SELECT version_num FROM alembic_version"))


def _has_versions(connection: Connection) -> bool:
    return inspect(connection).has_table("alembic_version")
