"""The way to an engine: HTTP to the replica that a lease holds."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from tutti.base.errors import EngineEnded
from tutti.dispatch.connection import Broken, Connection, Leaving, NotConnected
from tutti.dispatch.suspects import Watch
from tutti.dispatch.wire import JSON, Client
from tutti.engines.upstream import Refusal


class Seat(Protocol):
    """The replica that serves a request; the request may move to another one as long as nothing was
    answered."""

    @property
    def address(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def adapter(self) -> int: ...

    async def move(self, *, sent: bool) -> None:
        """Leave a replica that refused the connection or, with `sent`, broke it. Raises Unavailable where
        there is no other to go to."""
        ...


class _Request(NamedTuple):
    path: str
    content_type: str
    body: bytes | Sequence[bytes | Path]


class HttpUpstream:
    """Sends the requests of a dialect to the seat's replica. `leaving` gets a future for each request that
    was given up before its answer came, and has not ended yet."""

    def __init__(
        self, client: Client, seat: Seat, watch: Watch | None = None, leaving: Leaving | None = None
    ) -> None:
        self._client = client
        self._seat = seat
        self._watch = watch or Watch(None, "")
        self._leaving = leaving

    @property
    def adapter(self) -> int:
        return self._seat.adapter

    async def post(self, path: str, body: bytes) -> bytes:
        async with self._answer(_Request(path, JSON, body)) as answer:
            return await answer.rest()

    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        async with self._answer(_Request(path, content_type, body)) as answer:
            return await answer.rest()

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        async with self._answer(_Request(path, JSON, body)) as answer:
            while piece := await answer.read():
                yield piece

    @asynccontextmanager
    async def _answer(self, request: _Request) -> AsyncGenerator[Connection]:
        async with self._watch.turn(*request):
            answer = await self._open(request)
            try:
                if answer.status >= 300:
                    raise Refusal(answer.status, await answer.rest())
                yield answer
            except Broken as error:
                await self._watch.ended(*request, self._seat.address)
                raise EngineEnded from error
            finally:
                self._client.release(answer, self._leaving)

    async def _open(self, request: _Request) -> Connection:
        while True:
            seat = self._seat
            try:
                return await self._client.post(
                    seat.address + request.path,
                    request.body,
                    seat.headers,
                    request.content_type,
                    self._leaving,
                )
            except NotConnected:
                await seat.move(sent=False)
            except Broken:
                await self._watch.ended(*request, seat.address)
                await seat.move(sent=True)
