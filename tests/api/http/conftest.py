"""The HTTP layer around a feature of its own, over a real database and a real socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import aiohttp
import pytest
from anyio.from_thread import BlockingPortal
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from tests.support.http import serve
from tests.support.template import put_database

from tutti.access.limits import Limits
from tutti.app.platform import open_database
from tutti.base.errors import Unavailable
from tutti.base.settings import Settings
from tutti.http import server
from tutti.http.context import caller, family, request_id
from tutti.http.stream import event_stream
from tutti.store.db import Database, database_url


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    type: Literal["image"]
    url: str


class Message(BaseModel):
    role: Literal["system", "user"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] = ""


class Body(BaseModel):
    model_config = {"extra": "forbid"}

    model: str
    messages: list[Message] = []
    n: int = 1
    pair: Annotated[list[str], Field(min_length=2)] | str = ""
    names: str | Annotated[list[str], Field(min_length=1)] = ""
    anything: object = None


def feature() -> APIRouter:
    routes = APIRouter()

    @routes.post("/things", operation_id="makeThing")
    async def make(request: Request, body: Body) -> dict[str, object]:
        return {"family": family(request), "request_id": request_id(request), "body": body}

    @routes.get("/things/{id}/parts")
    async def parts(request: Request, id: str) -> dict[str, str]:
        return {"id": id, "project_id": caller(request).project_id}

    @routes.get("/things/{id:path}")
    async def thing(id: str) -> dict[str, str]:
        return {"id": id}

    @routes.get("/broken")
    async def broken() -> Response:
        raise RuntimeError("secret detail")

    @routes.get("/numbers")
    async def numbers() -> Response:
        async def frames() -> AsyncIterator[bytes]:
            yield b"data: 1\n\ndata: 2\n\n"
            yield b"data: [DONE]\n\n"

        return event_stream(frames(), early_headers_s=3)

    @routes.get("/endless")
    async def endless() -> Response:
        async def frames() -> AsyncIterator[bytes]:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(0.01)

        return event_stream(frames(), early_headers_s=3)

    @routes.get("/stream")
    async def stream() -> Response:
        async def frames() -> AsyncIterator[bytes]:
            raise Unavailable("loading", retry_after_s=2)
            yield b""

        return event_stream(frames(), early_headers_s=3)

    return routes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    put_database(tmp_path / "data")
    return Settings(data_dir=tmp_path / "data", max_body_bytes=20_000)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = await Database.open(database_url(settings))
    yield database
    await database.close()


@pytest.fixture
async def http(settings: Settings, database: Database) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server with `feature` in it, with an API key."""
    app = server.build([feature()], settings=settings, database=database, limits=Limits(database))
    async with serve(app) as url, asking(url) as session:
        yield session


@pytest.fixture(scope="session")
def shared_url(tmp_path_factory: pytest.TempPathFactory, apart: BlockingPortal) -> Iterator[str]:
    """Of a server with `feature` in it, for all tests that leave it as it is."""
    data_dir = tmp_path_factory.mktemp("shared")
    put_database(data_dir)
    chosen = Settings(data_dir=data_dir, max_body_bytes=20_000)
    with apart.wrap_async_context_manager(_served(chosen)) as url:
        yield url


@asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[str]:
    async with open_database(settings) as database:
        app = server.build([feature()], settings=settings, database=database, limits=Limits(database))
        async with serve(app) as url:
            yield url


def asking(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(url, headers={"authorization": "Bearer any"})
