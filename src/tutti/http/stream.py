"""Answers that are written while they are being made: server-sent events, and plain bytes.

They are iterated in the task of the request, which is cancelled the moment the client leaves, wherever it is:
waiting for an engine, for the next token, or for a slow reader. A lease held by the generator is therefore
given back at once.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tutti.http.connected import Connected
from tutti.http.context import send_more
from tutti.http.errors import from_exception, sse_error

_T = TypeVar("_T")


def event_stream(
    frames: AsyncIterator[bytes],
    *,
    early_headers_s: float,
    keep_alive_s: float = 5.0,
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """Return the response for a stream of events. Each frame is one or more whole events (`data: ...` and an
    empty line); the caller ends with `[DONE]`.

    An error of `frames` before its first frame becomes a response of its own status, unless that takes longer
    than `early_headers_s`: then the headers go out with a comment. Later errors become the last event.
    """
    return EventStream(frames, early_headers_s, keep_alive_s, headers)


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of `work`, which is cancelled when the client leaves (this then raises
    ClientDisconnect).

    For answers that are not streams: nobody else listens while a generation runs.
    """
    async with Connected(request.receive):
        return await work
    raise ClientDisconnect


class ByteStream(StreamingResponse):
    """A stream of bytes. An error of `frames` before its first piece becomes a response of its own status;
    after a later one the connection is broken off, so that nobody takes a part for the whole."""

    def __init__(
        self, frames: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(frames, headers=headers, media_type=media_type)
        self._frames = frames
        self._starting = asyncio.Lock()
        self._started = False
        self._written = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send, self._send_more = send, send_more(scope, send)
        connected = Connected(receive)
        async with connected:
            await self._answer()
        if connected.left and not self._started:
            raise ClientDisconnect

    async def _answer(self) -> None:
        await self._write_frames()
        await self._end()

    async def _write_frames(self) -> None:
        try:
            async for frame in self._frames:
                if not self._written:
                    await self._start()
                self._written += 1
                await self._send_more({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            await _close(self._frames)

    async def _end(self) -> None:
        await self._start()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self) -> None:
        async with self._starting:
            if not self._started:
                self._started = True  # before it is sent: who is cancelled meanwhile has sent it all the same
                start = {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
                await self._send(start)


class EventStream(ByteStream):
    """A stream of server-sent events; see `event_stream`."""

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        early_headers_s: float,
        keep_alive_s: float,
        headers: Mapping[str, str] | None,
    ) -> None:
        plain = {"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})}
        super().__init__(frames, "text/event-stream", plain)
        self._early_headers_s = early_headers_s
        self._keep_alive_s = keep_alive_s
        self._waiting: asyncio.Task[None] | None = None

    async def _answer(self) -> None:
        early = asyncio.get_running_loop().call_later(self._early_headers_s, self._begin_waiting)
        try:
            try:
                await self._write_frames()
            finally:
                early.cancel()
                if self._waiting is not None:
                    await _cancel(self._waiting)
        except Exception as exc:
            if not self._started:
                raise
            await self._write(sse_error(from_exception(exc)))
        await self._end()

    def _begin_waiting(self) -> None:
        self._waiting = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        """Send comments as long as no frame comes."""
        written = 0
        while True:
            if self._written == written:
                await self._write(b": waiting\n\n")
            written = self._written
            await asyncio.sleep(self._keep_alive_s)

    async def _write(self, body: bytes) -> None:
        await self._start()
        await self._send_more({"type": "http.response.body", "body": body, "more_body": True})


async def _close(frames: AsyncIterator[bytes]) -> None:
    close = getattr(frames, "aclose", None)
    if close is not None:
        await close()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
