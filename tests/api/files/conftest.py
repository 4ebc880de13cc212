"""A server on SQLite and a folder, and one on PostgreSQL and S3. Both are started once; each test has a
project of its own in them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from tests.support.http import asking
from tests.support.patience import limit
from tests.support.platform import api
from tests.support.postgres import empty_database, postgres_url
from tests.support.s3 import s3_server

from tutti.access.keys import create_key, project_named, server_secret
from tutti.app.platform import open_platform
from tutti.base.ids import new_id
from tutti.base.settings import Settings
from tutti.platform import Platform
from tutti.store.blobs import Blobs
from tutti.store.db import Database, database_url


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def settings(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("files")
    chosen = Settings(data_dir=folder / "data", models=[], max_file_bytes=20_000_000)
    if kind == "sqlite":
        yield chosen
        return
    url = postgres_url(asyncio.run(empty_database()))
    with s3_server(folder / "s3") as s3, pytest.MonkeyPatch.context() as environment:
        for name, value in s3.credentials.items():
            environment.setenv(name, value)
        where = {"blob_url": f"s3://{s3.bucket}", "blob_endpoint": s3.endpoint, "database_url": url}
        yield chosen.model_copy(update=where)


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[str]:
    """The URL. It runs in a thread of its own, since each test has an event loop of its own."""
    url: list[str] = []
    started, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with api(settings.data_dir, [], **settings.model_dump(exclude={"data_dir", "models"})) as base:
            url.append(base)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(limit(60))
    yield url[0]
    stop.set()
    thread.join(limit(60))


@pytest.fixture
async def database(server: str, settings: Settings) -> AsyncIterator[Database]:
    database = await Database.open(database_url(settings))
    yield database
    await database.close()


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return Blobs.open(settings)


@pytest.fixture
async def platform(settings: Settings, database: Database) -> AsyncIterator[Platform]:
    async with open_platform(settings, database) as platform:
        yield platform


class Projects:
    """New ones, each with a client."""

    def __init__(self, url: str, settings: Settings, database: Database, clients: AsyncExitStack) -> None:
        self._url = url
        self._secret = server_secret(settings)
        self._database = database
        self._clients = clients

    async def new(self) -> tuple[str, httpx.AsyncClient]:
        project = await project_named(self._database, new_id("slug"))
        key = await create_key(self._database, self._secret, "test", project_id=project.id)
        return project.id, await self._clients.enter_async_context(asking(self._url, key.secret))


@pytest.fixture
async def projects(server: str, settings: Settings, database: Database) -> AsyncIterator[Projects]:
    async with AsyncExitStack() as clients:
        yield Projects(server, settings, database, clients)


@pytest.fixture
async def mine(projects: Projects) -> tuple[str, httpx.AsyncClient]:
    return await projects.new()


@pytest.fixture
def project(mine: tuple[str, httpx.AsyncClient]) -> str:
    return mine[0]


@pytest.fixture
def client(mine: tuple[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return mine[1]
