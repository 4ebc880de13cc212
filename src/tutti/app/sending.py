"""The two ways in which app/protocol writes answers otherwise than uvicorn."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UntilClosed:
    """Sends a body that `cycle` would have to cut into chunks as it is: its end is that of the connection."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._is_bare = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._is_bare = all(name.lower() != b"content-length" for name, _ in message["headers"])
            if self._is_bare:
                self._cycle.chunked_encoding = False
        elif self._is_bare and message.get("body"):
            if self._cycle.flow.write_paused and not self._cycle.disconnected:
                await self._cycle.flow.drain()
            if not self._cycle.disconnected and self._cycle.scope["method"] != "HEAD":
                self._cycle.transport.write(message["body"])
            message = {**message, "body": b""}
        await self._send(message)


class HeadWithBody:
    """A transport that keeps a head until the next write, or for the rest of the loop's turn: answers to HEAD
    have no body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
