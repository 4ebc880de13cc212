"""A server with the echo engine behind it, which speaks and transcribes."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.support.engines import Running, model, running
from tests.support.http import asking
from tests.support.patience import limit
from tests.support.platform import api
from websockets.asyncio.client import ClientConnection, connect

from tutti.engines.echo import Echo

SPEECH = model(name="test/speech", type="audio", voices=("heart", "bella"))
SLOW = model(name="test/slow-speech", type="audio", voices=("heart",), options={"tokens_per_s": 10.0})
LISTENER = model(name="test/whisper", type="transcribe", capabilities=frozenset({"translate"}))
CHAT = model(name="test/chat")
CALLED = model(name="test/called-whisper", type="transcribe")
"""For one test each: their usage is looked at."""
INTERRUPTED = model(name="test/interrupted-speech", type="audio", voices=("heart",))
MODELS = [SPEECH, SLOW, LISTENER, CHAT, CALLED, INTERRUPTED]
AUTHORIZED = {"authorization": "Bearer any"}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[Running]:
    async with running(Echo(), SPEECH) as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def slow() -> AsyncIterator[Running]:
    async with running(Echo(), SLOW) as slow:
        yield slow


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory, engine: Running, slow: Running) -> AsyncIterator[str]:
    addresses = {it.name: engine.address for it in MODELS}
    addresses |= dict.fromkeys((SLOW.name, INTERRUPTED.name), slow.address)
    limits: dict[str, Any] = {"max_audio_bytes": 100_000, "max_speech_chars": 2_000, "max_sockets": 80}
    folder = tmp_path_factory.mktemp("data")
    async with api(folder, MODELS, addresses, slots=64, **limits) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hasty_url(tmp_path_factory: pytest.TempPathFactory, engine: Running) -> AsyncIterator[str]:
    """Of a server that soon drops who is silent: at any other, a busy machine is not taken for a silent
    client."""
    addresses = {it.name: engine.address for it in (SPEECH, LISTENER)}
    folder = tmp_path_factory.mktemp("hasty")
    async with api(folder, [SPEECH, LISTENER], addresses, socket_idle_s=1.0) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(url) as http:
        yield http


class Talk:
    """A WebSocket that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        return json.loads(await self.connection.recv())

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """All events up to one whose type ends so."""
        events = [await self.next()]
        while not events[-1]["type"].endswith(kind):
            events.append(await self.next())
        return events

    async def closed(self) -> int:
        await self.connection.wait_closed()
        return self.connection.close_code or 0


@asynccontextmanager
async def talking(url: str, path: str, headers: Any = None) -> AsyncIterator[Talk]:
    headers = AUTHORIZED if headers is None else headers
    async with connect(
        url.replace("http", "ws") + path, additional_headers=headers, open_timeout=limit(60)
    ) as connection:
        yield Talk(connection)


async def failures(url: str, model: str, requests: int = 1) -> int:
    """Of the requests to the model, once so many are counted."""
    async with asking(url) as http, asyncio.timeout(limit(60)):
        while True:
            report = (await http.get("/v1/billing/usage", params={"model": model})).json()
            usage = [used for window in report["data"] for used in window["usage"]]
            if sum(used["requests"] for used in usage) >= requests:
                return sum(used["failed_requests"] for used in usage)
            await asyncio.sleep(0.1)


def audio_of(events: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(it["delta"]) for it in events if "delta" in it)


def wav_of(data: bytes) -> tuple[int, int]:
    """Sample rate and number of frames of a 16-bit mono file, whose sizes must be right."""
    assert data[:4] == b"RIFF" and struct.unpack("<I", data[4:8])[0] == len(data) - 8
    rate = struct.unpack("<I", data[24:28])[0]
    assert struct.unpack("<I", data[40:44])[0] == len(data) - 44
    return rate, (len(data) - 44) // 2


def sse_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line for line in answer.text.split("\n\n") if line and not line.startswith(":")]
    return [json.loads(line.removeprefix("data: ")) for line in events if line != "data: [DONE]"]
