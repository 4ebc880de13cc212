"""The program that store/migrate.py starts: upgrades the schema of $TUTTI_DATABASE_URL to the newest."""

import asyncio
import os
import sqlite3
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Connection, text

from tutti.store.db import BUSY_TIMEOUT_S, Database, sqlite_path

_ADVISORY_LOCK = 0x7475747469
"""Any number, as long as nobody else in the database uses it: "tutti" in ASCII."""


def upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def run(url: str) -> None:
    database = await Database.open(url)
    try:
        async with database.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK}
                )
            await connection.run_sync(upgrade)
    finally:
        await database.close()


def alone(url: str) -> AbstractContextManager[object]:
    path = sqlite_path(url)
    return nullcontext() if path is None else FileLock(f"{path}.lock")


def use_wal(url: str) -> None:
    path = sqlite_path(url)
    if path is None:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def main() -> None:
    url = os.environ["TUTTI_DATABASE_URL"]
    with alone(url):
        use_wal(url)
        asyncio.run(run(url))


if __name__ == "__main__":
    main()
