"""Engines for tests: answers from a list, and real engine programs with a real connection to them."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from tests.support.patience import limit
from tests.support.ports import free_port

from tutti.base.model import Model
from tutti.dispatch.upstream import HttpUpstream
from tutti.dispatch.wire import Client
from tutti.engines.answers import Delta
from tutti.engines.base import Engine
from tutti.engines.calls import ChatCall, CompletionCall, Sampling
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal


@dataclass
class Canned:
    """An Upstream that answers with the given bytes, or with `streamed` (if given) to requests for a stream.
    It keeps the requests."""

    pieces: Sequence[bytes] = ()
    refusals: list[Refusal] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    streamed: Sequence[bytes] = ()
    adapter: int = -1

    def _take(self, path: str, body: bytes) -> None:
        self.asked.append((path, msgspec.json.decode(body)))
        if self.refusals:
            raise self.refusals.pop(0)

    async def post(self, path: str, body: bytes) -> bytes:
        self._take(path, body)
        wants_stream = self.asked[-1][1].get("stream", False)
        return b"".join((wants_stream and self.streamed) or self.pieces)

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        self._take(path, body)
        for piece in self.streamed or self.pieces:
            yield piece


def model(engine: str = "echo", **fields: Any) -> Model:
    return Model(**{"name": "some/model", "type": "chat", "engine": engine, **fields})


def chat(text: str = "hello big world", **fields: Any) -> ChatCall:
    messages = [{"role": "user", "content": text}]
    return ChatCall(
        **{"model": model(), "messages": messages, "stream": False, "sampling": Sampling(), **fields}
    )


def completion(prompt: str = "hello big world", **fields: Any) -> CompletionCall:
    return CompletionCall(
        **{"model": model(), "prompt": prompt, "stream": False, "sampling": Sampling(), **fields}
    )


async def collect(batches: AsyncIterator[Sequence[Delta]]) -> list[Delta]:
    return [delta async for batch in batches for delta in batch]


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@dataclass(frozen=True)
class At:
    """A seat that stays where it is."""

    address: str
    headers: Mapping[str, str]
    adapter: int = -1

    async def move(self, *, sent: bool) -> None:
        raise ConnectionError(f"nobody answers at {self.address}")


@dataclass(frozen=True)
class Running:
    upstream: HttpUpstream
    process: asyncio.subprocess.Process
    address: str


async def until_telling(engine: Running, **told: int) -> None:
    """Wait until the echo engine reports a value, `busy` or `sessions`. Work that takes a minute does not end
    meanwhile."""
    async with asyncio.timeout(limit(60)), aiohttp.ClientSession(engine.address) as session:
        while not told.items() <= (await _progress(session)).items():
            await asyncio.sleep(0.01)


async def _progress(session: aiohttp.ClientSession) -> Mapping[str, Any]:
    async with session.post("/progress") as response:
        return await response.json()


@contextlib.asynccontextmanager
async def running(
    engine: Engine, which: Model, *, place: Place | None = None, within_s: float = 60.0
) -> AsyncIterator[Running]:
    """Start the engine's own program, and end it afterwards."""
    place = replace(place or Place(folder=Path(), port=0, threads=1), port=free_port())
    program = engine.program(which, place)
    assert program is not None
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **program.env}
    process = await asyncio.create_subprocess_exec(*program.argv, env=env, stdout=sys.stderr)
    try:
        address, client = f"http://127.0.0.1:{place.port}", Client()
        async with aiohttp.ClientSession() as session:
            await _healthy(session.get, address + program.health_path, process, within_s)
        upstream = HttpUpstream(client, At(address, engine.headers(which)))
        yield Running(upstream, process, address)
        client.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), limit(10))
        except TimeoutError:
            process.kill()
            await process.wait()


async def _healthy(get: Any, url: str, process: asyncio.subprocess.Process, within_s: float) -> None:
    until = time.monotonic() + limit(within_s)
    while time.monotonic() < until:
        assert process.returncode is None, f"the engine ended with {process.returncode}"
        with contextlib.suppress(OSError):
            async with get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.05)
    raise TimeoutError(url)
