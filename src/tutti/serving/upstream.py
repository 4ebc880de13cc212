"""The way to an engine: HTTP, on the replica that a lease holds."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from tutti.base.errors import Unavailable
from tutti.engines.base import Refusal
from tutti.serving.wire import JSON, Broken, Client, Connection, NotConnected, Stale


class Seat(Protocol):
    """Where a request is served; it may move to another replica as long as nothing was answered."""

    @property
    def address(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def adapter(self) -> int: ...

    async def move(self, *, sent: bool) -> None:
        """The replica refused the connection or, with `sent`, broke it. Raises Unavailable where there is
        no other to go to."""
        ...


class HttpUpstream:
    def __init__(self, client: Client, seat: Seat) -> None:
        self._client = client
        self._seat = seat

    @property
    def adapter(self) -> int:
        return self._seat.adapter

    async def post(self, path: str, body: bytes) -> bytes:
        async with self._answer(path, body) as answer:
            return await answer.rest()

    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        async with self._answer(path, body, content_type) as answer:
            return await answer.rest()

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        async with self._answer(path, body) as answer:
            while piece := await answer.read():
                yield piece

    @asynccontextmanager
    async def _answer(
        self, path: str, body: bytes | Sequence[bytes | Path], content_type: str = JSON
    ) -> AsyncGenerator[Connection]:
        answer = await self._open(path, body, content_type)
        try:
            if answer.status >= 300:
                raise Refusal(answer.status, await answer.rest())
            yield answer
        except Broken as error:
            raise Unavailable("The model stopped while it was answering.", retry_after_s=1) from error
        finally:
            self._client.release(answer)  # aborts the work unless the whole answer has come

    async def _open(self, path: str, body: bytes | Sequence[bytes | Path], content_type: str) -> Connection:
        while True:
            seat = self._seat
            try:
                return await self._client.post(seat.address + path, body, seat.headers, content_type)
            except (NotConnected, Stale):
                await seat.move(sent=False)
            except Broken:
                await seat.move(sent=True)
