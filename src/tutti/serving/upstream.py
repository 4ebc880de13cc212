"""The way to an engine: HTTP over aiohttp, on the replica that a lease holds."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

from tutti.base.clock import monotonic_s
from tutti.base.errors import Unavailable
from tutti.engines.base import Refusal

_CONNECT_S = 10.0
_KEEP_ALIVE_S = 2.0
"""Shorter than any engine's own (uvicorn: 5 s), so that no request meets a connection being closed."""
_STALE_S = 0.1
"""A kept connection to an engine that has ended breaks at once: that request had not been begun."""


class Seat(Protocol):
    """Where a request is served; it may move to another replica as long as nothing was answered."""

    @property
    def address(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def move(self, *, sent: bool) -> None:
        """The replica refused the connection or, with `sent`, broke it. Raises Unavailable where there is
        no other to go to."""
        ...


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"content-type": "application/json", "accept-encoding": "identity"},
    )


class HttpUpstream:
    def __init__(self, session: aiohttp.ClientSession, seat: Seat) -> None:
        self._session = session
        self._seat = seat

    async def post(self, path: str, body: bytes) -> bytes:
        async with self._answer(path, body) as response:
            return await response.read()

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        async with self._answer(path, body) as response:
            async for piece in response.content.iter_any():
                yield piece

    @asynccontextmanager
    async def _answer(self, path: str, body: bytes) -> AsyncGenerator[aiohttp.ClientResponse]:
        response = await self._open(path, body)
        try:
            if response.status >= 400:
                raise Refusal(response.status, await response.read())
            yield response
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Unavailable("The model stopped while it was answering.", retry_after_s=1) from error
        finally:
            response.close()  # aborts the work unless the whole answer has been read

    async def _open(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        while True:
            seat, began = self._seat, monotonic_s()
            try:
                return await self._session.post(seat.address + path, data=body, headers=seat.headers)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                await seat.move(sent=False)
            except (aiohttp.ClientError, ConnectionError):
                await seat.move(sent=monotonic_s() - began > _STALE_S)
