"""HTTP/1.1 to clients: uvicorn's, but the head of an answer leaves together with the first of its body.

uvicorn writes one after the other. That is two system calls, and the client is woken for a head that it can
do nothing with; on a busy machine it then waits for a processor once more when the first token comes.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.transport = _HeadWithBody(transport, self.loop)  # pyright: ignore[reportAttributeAccessIssue]


class _HeadWithBody:
    """A transport that keeps a head until the next write, or for what is left of the loop's turn: answers to
    HEAD have no body."""

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

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""
