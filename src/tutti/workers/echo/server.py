"""A small HTTP/1.1 server: requests have JSON bodies, answers are bytes or streams of bytes.

It is built on asyncio's protocols, because benchmarks must measure the gateway and not this program. A client
that disconnects cancels the handler at once.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import httptools


@dataclass(frozen=True)
class Answer:
    """An HTTP response.

    `body` is the whole of it, or a generator whose pieces are sent as chunks as they come.
    """

    body: bytes | AsyncGenerator[bytes]
    status: int = 200
    content_type: str = "application/json"


@dataclass
class Incoming:
    """An HTTP request, as it is received."""

    method: str = ""
    path: str = ""
    content_type: str = ""
    body: bytearray = field(default_factory=bytearray)


Handler = Callable[[Incoming], Awaitable[Answer]]


class Connection(asyncio.Protocol):
    """A client's connection. Requests are answered in order; httptools calls the `on_*` methods."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = Incoming()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def on_message_begin(self) -> None:
        self._incoming = Incoming()

    def on_url(self, url: bytes) -> None:
        self._incoming.path = url.split(b"?", 1)[0].decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._incoming.content_type = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._incoming.body += body

    def on_message_complete(self) -> None:
        self._incoming.method = self._parser.get_method().decode()
        self._task = asyncio.get_running_loop().create_task(self._answer(self._incoming, self._task))

    async def _answer(self, incoming: Incoming, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await previous
        keep_alive = self._parser.should_keep_alive()
        answer = await self._handler(incoming)
        head = f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.content_type}\r\n"
        if isinstance(answer.body, bytes):
            self._transport.write(f"{head}content-length: {len(answer.body)}\r\n\r\n".encode() + answer.body)
        else:
            self._transport.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
            await self._send(answer.body)
        if not keep_alive:
            self._transport.close()

    async def _send(self, pieces: AsyncGenerator[bytes]) -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await self._writable.wait()
        self._transport.write(b"0\r\n\r\n")
