from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.databases import Kind, database, migrated
from tests.support.http import asking
from tests.support.platform import api

from tutti.base.model import Model, Pricing
from tutti.base.settings import Settings
from tutti.store.db import Database

__all__ = ["database", "migrated"]

MODEL = Model(name="priced", type="chat", engine="echo", pricing=Pricing(input=2, output=10))


@pytest.fixture
def kind() -> Kind:
    """The unit tests have seen both databases; a test whose SQL is its own asks for both."""
    return "sqlite"


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    """Those of the server behind `client`."""
    return Settings(data_dir=tmp_path / "data", database_url=database.url, models=[])


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Of a server without keys; a test that makes one passes it by itself."""
    async with (
        api(settings.data_dir, [MODEL], database_url=settings.database_url) as url,
        asking(url) as client,
    ):
        yield client
