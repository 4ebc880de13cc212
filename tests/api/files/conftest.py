"""A server on SQLite and a folder, and one on PostgreSQL and S3."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.databases import Kind, database, kind, migrated
from tests.support.platform import api
from tests.support.s3 import S3Server, s3_server

from tutti.base.settings import Settings
from tutti.store.blobs import Blobs
from tutti.store.db import Database

__all__ = ["database", "kind", "migrated"]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def settings(
    tmp_path: Path,
    database: Database,
    kind: Kind,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    chosen = Settings(
        data_dir=tmp_path / "data", database_url=database.url, models=[], max_file_bytes=20_000_000
    )
    if kind == "sqlite":
        return chosen
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{server.bucket}/{tmp_path.name}"
    return chosen.model_copy(update={"blob_url": url, "blob_endpoint": server.endpoint})


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return Blobs.open(settings)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    chosen = settings.model_dump(exclude={"data_dir", "models"})
    async with (
        api(settings.data_dir, [], **chosen) as url,
        httpx.AsyncClient(base_url=url, headers={"authorization": "Bearer any"}) as client,
    ):
        yield client
