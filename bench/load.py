"""Bounded load on loopback: a number of streams or requests, and what each saw."""

import asyncio
import json
import time
from dataclasses import dataclass
from statistics import median

import aiohttp

from bench.servers import KEY, Server


@dataclass(frozen=True)
class Streamed:
    """The measurements of one stream: seconds to the first token, tokens, seconds in all."""

    first_token_s: float
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Load:
    """`cpu_s` is what the server's processes used meanwhile."""

    streams: list[Streamed]
    seconds: float
    cpu_s: float

    @property
    def tokens(self) -> int:
        return sum(stream.tokens for stream in self.streams)

    @property
    def first_token_s(self) -> float:
        return median(stream.first_token_s for stream in self.streams)


def chat(model: str, prompt: str, max_tokens: int, *, stream: bool) -> bytes:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "stream": stream,
        "temperature": 0,
    }
    return json.dumps(body).encode()


def opened_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        connector=aiohttp.TCPConnector(limit=0, force_close=True),  # llama.cpp keeps none after a stream
        timeout=aiohttp.ClientTimeout(total=300),
    )


async def streams(
    server: Server,
    body: bytes,
    count: int,
    *,
    concurrent: int,
    session: aiohttp.ClientSession | None = None,
) -> Load:
    """Request `count` streamed chat completions, `concurrent` at a time; no session: on new connections."""
    if session is not None:
        return await _load(session, server, body, count, concurrent, _stream)
    async with opened_session() as session:
        return await _load(session, server, body, count, concurrent, _stream)


async def requests(server: Server, body: bytes, count: int, *, concurrent: int) -> Load:
    """Request `count` whole chat completions, `concurrent` at a time (first_token_s is the whole latency)."""
    async with opened_session() as session:
        return await _load(session, server, body, count, concurrent, _request)


async def _load(session, server, body, count, concurrent, one) -> Load:
    gate = asyncio.Semaphore(concurrent)

    async def bounded() -> Streamed:
        async with gate:
            return await one(session, f"{server.url}/chat/completions", body)

    began, cpu_s = time.monotonic(), server.cpu_s()
    done = await asyncio.gather(*(bounded() for _ in range(count)))
    return Load(done, time.monotonic() - began, server.cpu_s() - cpu_s)


async def _stream(session: aiohttp.ClientSession, url: str, body: bytes) -> Streamed:
    began, first, tokens = time.monotonic(), 0.0, 0
    async with session.post(url, data=body) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {await answer.text()}")
        async for line in answer.content:
            if b'"content":"' in line or b'"content": "' in line:
                tokens += 1
                first = first or time.monotonic() - began
    return Streamed(first, tokens, time.monotonic() - began)


async def _request(session: aiohttp.ClientSession, url: str, body: bytes) -> Streamed:
    began = time.monotonic()
    async with session.post(url, data=body) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {await answer.text()}")
        whole = json.loads(await answer.read())
    seconds = time.monotonic() - began
    return Streamed(seconds, whole["usage"]["completion_tokens"], seconds)
