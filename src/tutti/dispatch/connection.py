"""One connection to an engine: HTTP/1.1 over asyncio and httptools. See dispatch/wire."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import httptools

_LEAVE_S = 60.0
"""How long a server may take to end work that was given up, before the connection is cut."""
_MUCH = 1 << 16
"""Bytes of an answer that is read as a whole that are worth waking up for."""
_MOST_UNREAD = 1 << 18
"""Bytes kept of an answer that is read slower than it comes; then the engine has to wait."""
_BLOCK_BYTES = 1 << 18


class NotConnected(Exception):
    """No connection could be made: nothing was sent."""


class Broken(Exception):
    """The connection ended, or received bytes that are not HTTP, before the answer was complete."""


Leaving = Callable[[asyncio.Future[None]], None]
"""Called with a future that is done when the server has ended the work that nobody waits for any more."""


class Origin(NamedTuple):
    host: str
    port: int
    tls: bool


class Connection(asyncio.Protocol):
    """A connection with one request at a time. Take the `rest` of its answer, or `read` until it returns
    nothing, or leave the answer to `Client.release`."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.reusable = False
        """True once the answer has come to its end, if the server keeps the connection."""
        self.closes = False
        """True if the server was asked to close the connection after its answer."""
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[None] | None = None
        self._has_head = self._has_length = self._complete = self._lost = False
        self._sent = self._full = self._at_once = False
        self._pieces: list[bytes] = []
        self._unread = 0
        self._left: asyncio.Future[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    @property
    def has_stray_bytes(self) -> bool:
        """True if something can be read that nobody asked for: the end of the connection, of which the loop
        has not informed us yet."""
        looking = select.poll()
        looking.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(looking.poll(0))

    async def ask(self, head: bytes, body: Sequence[bytes | Path]) -> None:
        """Send the request, and wait for the head of the answer. Raises Broken."""
        self._has_head = self._has_length = self._complete = self.reusable = self._sent = False
        self._at_once = False
        self._take()
        first, *rest = body
        if isinstance(first, bytes):  # nearly always all there is: in one write
            head, body = head + first, rest
        self._transport.write(head)
        await self._send(body)
        while not self._has_head:
            await self._more()

    async def read(self) -> bytes:
        """Return the bytes received since the last call; none at the end of the answer. Raises Broken."""
        while not (self._pieces or self._complete):
            await self._more()
        return self._take()

    async def rest(self) -> bytes:
        """Return the answer up to its end. Until then nothing is done here for each token. Raises Broken."""
        self._at_once = True
        if self.closes and not self._parser.should_keep_alive():  # so the end of the answer wakes us
            receiving = self._transport.get_extra_info("socket")
            receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _MUCH)
        pieces = [self._take()]
        while not self._complete:
            await self._more()
            pieces.append(self._take())
        return b"".join(pieces)

    def abort(self) -> None:
        self.reusable = False
        self._transport.abort()

    def leave(self) -> asyncio.Future[None]:
        """Close only our side, so that the server ends its work for the request and then closes its side. The
        future is done then, or when the server took too long."""
        self.reusable = False
        self._left = self._loop.create_future()
        if self._is_over or not self._transport.can_write_eof():
            self._transport.abort()
            self._left.set_result(None)
            return self._left
        self._take()
        self._transport.write_eof()
        self._leaving = self._loop.call_later(_LEAVE_S, self._transport.abort)
        return self._left

    @property
    def _is_over(self) -> bool:
        """True if the server has answered or gone, or has not yet received the whole request."""
        return self._complete or self._lost or not self._sent or self._transport.is_closing()

    async def _send(self, body: Sequence[bytes | Path]) -> None:
        """Send the body, but stop as soon as the answer comes."""
        for piece in body:
            async for block in _blocks(piece):
                self._transport.write(block)
                while self._full and not self._has_head:
                    await self._more()
                if self._has_head or self._lost:
                    return
        self._sent = True

    def _more(self) -> asyncio.Future[None]:
        if self._lost:
            raise Broken("the connection ended before the answer did")
        self._waiting = self._loop.create_future()  # once a token: asking for the loop is a system call
        return self._waiting

    def _take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        if self._unread >= _MOST_UNREAD:
            self._transport.resume_reading()
        self._unread = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # --- called by the event loop ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()
        if self._complete or self._unread >= _MUCH or not self._at_once:
            self._wake()

    def eof_received(self) -> None:
        if self._has_head and not self._has_length:
            self._complete = True  # such an answer goes on until the server closes the connection

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's arguments
        self._lost, self.reusable = True, False
        self._wake()
        if self._leaving is not None:
            self._leaving.cancel()
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    # --- called by the parser -------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - the parser's arguments
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._has_head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        if self._left is not None:
            return
        self._pieces.append(body)
        self._unread += len(body)
        if self._unread >= _MOST_UNREAD:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._left is not None:
            self._transport.abort()
        elif self._has_head:
            self._complete, self.reusable = True, self._sent and self._parser.should_keep_alive()


async def _blocks(piece: bytes | Path) -> AsyncIterator[bytes]:
    if isinstance(piece, bytes):
        yield piece
        return
    with piece.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block
