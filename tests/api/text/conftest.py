"""A server with real echo engines behind it: one that writes, one that judges."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from anyio.from_thread import BlockingPortal
from tests.support.engines import Running, model, running
from tests.support.http import asking
from tests.support.platform import api

from tutti.engines.echo import Echo

CHAT = model(name="test/chat", context_length=8192)
REASONER = model(name="test/reasoner", capabilities=frozenset({"reasoning", "vision"}))
GUARD = model(name="test/guard", type="moderation", options={"guard": True})
EMBEDDING = model(name="test/embedding", type="embedding")


@pytest.fixture(scope="session")
def engine(apart: BlockingPortal) -> Iterator[Running]:
    with apart.wrap_async_context_manager(running(Echo(), CHAT)) as engine:
        yield engine


@pytest.fixture(scope="session")
def guard(apart: BlockingPortal) -> Iterator[Running]:
    with apart.wrap_async_context_manager(running(Echo(), GUARD)) as guard:
        yield guard


@pytest.fixture(scope="session")
def url(
    apart: BlockingPortal, tmp_path_factory: pytest.TempPathFactory, engine: Running, guard: Running
) -> Iterator[str]:
    """Of the server that the tests share."""
    with apart.wrap_async_context_manager(_served(tmp_path_factory.mktemp("data"), engine, guard)) as url:
        yield url


@pytest.fixture(scope="module")
def fresh_url(
    apart: BlockingPortal, tmp_path_factory: pytest.TempPathFactory, engine: Running, guard: Running
) -> Iterator[str]:
    """Of a server that has answered nothing yet, for tests that count what it did."""
    with apart.wrap_async_context_manager(_served(tmp_path_factory.mktemp("fresh"), engine, guard)) as url:
        yield url


def _served(folder: Path, engine: Running, guard: Running) -> AbstractAsyncContextManager[str]:
    models = [CHAT, REASONER, GUARD, EMBEDDING]
    addresses = {it.name: engine.address for it in models} | {GUARD.name: guard.address}
    aliases = {"meta-llama/*": CHAT.name}
    return api(folder, models, addresses, aliases=aliases, early_headers_s=60)


@pytest.fixture(scope="session")
def hasty_url(
    apart: BlockingPortal, tmp_path_factory: pytest.TempPathFactory, engine: Running, guard: Running
) -> Iterator[str]:
    """Of a server whose streams begin early: on a busy machine, before an error that is to have a status."""
    addresses = {CHAT.name: engine.address, GUARD.name: guard.address}
    served = api(tmp_path_factory.mktemp("hasty"), [CHAT, GUARD], addresses, early_headers_s=0.5)
    with apart.wrap_async_context_manager(served) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator["Client"]:
    async with client_of(url) as http:
        yield Client(http)


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(hasty_url: str) -> AsyncIterator["Client"]:
    async with client_of(hasty_url) as http:
        yield Client(http)


def client_of(url: str) -> httpx.AsyncClient:
    return asking(url)


class Client:
    """Asks in one line: by default one user message to the chat model, through Together's paths."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def chat(
        self, said: str | list[Any] = "hello big world", prefix: str = "/v1", **fields: Any
    ) -> Any:
        return _body(await self.post(f"{prefix}/chat/completions", chat_body(said, **fields)))

    async def stream(
        self, said: str | list[Any] = "hello big world", prefix: str = "/v1", **fields: Any
    ) -> Any:
        body = chat_body(said, stream=True, **fields)
        return events(await self.post(f"{prefix}/chat/completions", body))

    async def complete(self, prompt: Any = "one two", prefix: str = "/v1", **fields: Any) -> Any:
        body = {"model": CHAT.name, "prompt": prompt, **fields}
        response = await self.post(f"{prefix}/completions", body)
        return events(response) if fields.get("stream") else _body(response)

    async def refused(self, path: str = "/v1/chat/completions", **fields: Any) -> dict[str, Any]:
        """The error of a request that must be a 400."""
        body = chat_body("hi", **fields) if "chat" in path else {"model": CHAT.name, "prompt": "hi", **fields}
        response = await self.post(path, body)
        assert response.status_code == 400, response.text
        assert response.headers["x-should-retry"] == "false"
        return response.json()["error"]


def chat_body(said: str | list[Any], **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    return {"model": CHAT.name, "messages": messages, **fields}


def _body(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def events(response: httpx.Response) -> list[Any]:
    """The chunks of a stream that ended as it should."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]
