"""The SQL database: SQLite in the data directory, or PostgreSQL. Code above this file need not know which."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Executable, Row, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from tutti.base.errors import Unavailable
from tutti.base.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

BUSY_TIMEOUT_S = 30
"""How long a SQLite statement waits for another process's transaction."""
_SERVER_SETTINGS = {
    "application_name": "tutti",
    # A process that is stopped in the middle of a transaction (SIGSTOP, a frozen machine) would keep its
    # locks, and with them its jobs, for ever.
    "idle_in_transaction_session_timeout": "10s",
}


def database_url(settings: Settings) -> str:
    """Return the URL of the database that the settings name, as SQLAlchemy wants it."""
    return async_url(settings.database_url or f"sqlite:///{settings.data_dir / 'tutti.db'}")


def async_url(url: str) -> str:
    """Return the URL of the same database through an asyncio driver; libpq's `sslmode` becomes asyncpg's
    `ssl`."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite").render_as_string(hide_password=False)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"Neither a SQLite nor a PostgreSQL URL: {parsed.render_as_string()}")
    query = {("ssl" if name == "sslmode" else name): value for name, value in parsed.query.items()}
    return parsed.set(drivername="postgresql+asyncpg", query=query).render_as_string(hide_password=False)


class Database:
    """An open connection pool. `url` holds the password: never log it."""

    def __init__(self, url: str, engine: AsyncEngine) -> None:
        self.url = url
        self.engine = engine
        self._reading = engine.execution_options(read_only=True)
        self._polling = engine.execution_options(lone_query=True)
        # SQLite has one writer. Within a process writers queue here, in order and without polling; the busy
        # timeout is for the writers of other processes.
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Connect, and check that the database answers. Raises Unavailable where it does not."""
        url = async_url(url)
        engine = _sqlite(url) if url.startswith("sqlite") else _postgres(url)
        database = cls(url, engine)
        try:
            async with database.read() as session:
                await session.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError) as error:
            await engine.dispose()
            name = make_url(url).render_as_string(hide_password=True)
            cause = getattr(error, "orig", None) or error
            raise Unavailable(f"The database {name} cannot be opened: {cause}", retry_after_s=1) from error
        return database

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Begin a transaction: committed on leaving, rolled back on an error. No network calls inside."""
        return self._transaction()

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a consistent view. Writes in it are lost."""
        return AsyncSession(self._reading, expire_on_commit=False)

    async def poll(
        self, query: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """Run one query by itself, without a session or a transaction around it: the cheapest read there
        is."""
        async with self._polling.connect() as connection:
            return (await connection.execute(query, parameters)).all()

    def insert(self, table: type[Any]) -> "postgresql.Insert | sqlite.Insert":
        """Return a statement with `on_conflict_...`, which each database has in a dialect of its own."""
        if self.engine.dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415 - only the dialect used
        else:
            from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - only the dialect used
        return insert(table)

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[AsyncSession]:
        async with (
            self._writer,
            AsyncSession(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session


def sqlite_path(url: str) -> Path | None:
    """Return the database's file; None for PostgreSQL."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


class _SqliteConnection(sqlite3.Connection):
    def close(self) -> None:
        """End the transaction, then close. Closing on cancellation is not enough: SQLite keeps a closed
        connection, with its lock, while some traceback still holds a cursor."""
        with suppress(sqlite3.ProgrammingError):  # it is closed already
            if self.in_transaction:
                self.rollback()
        super().close()


def _sqlite(url: str) -> AsyncEngine:
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connect = {"timeout": BUSY_TIMEOUT_S, "factory": _SqliteConnection}
    engine = create_async_engine(url, pool_size=8, max_overflow=0, connect_args=connect)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: ConnectionPoolEntry) -> None:
    """Set up a new connection. WAL itself is set once, by the migrations: it stays with the file."""
    connection.isolation_level = None  # the driver must not begin transactions of its own: _begin does
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote in between,
    # whatever the busy timeout; so writers take the lock at the start.
    options = connection.get_execution_options()
    if not options.get("lone_query", False):
        connection.exec_driver_sql("BEGIN" if options.get("read_only", False) else "BEGIN IMMEDIATE")


def _postgres(url: str) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=5,
        max_overflow=5,
        pool_pre_ping=True,
        connect_args={"timeout": 10, "command_timeout": 60, "server_settings": _SERVER_SETTINGS},
    )
