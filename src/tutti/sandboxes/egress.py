"""The only way out of a sandbox whose project may use the network: an HTTP proxy on a UNIX socket.

The sandbox has no network of its own. Its forwarder (`workers/interpreter/forwarder`) takes connections on a
loopback port and hands them to the socket that is bound into it. A host is resolved once, every address must
be one of the public internet, and the connection goes to one of exactly these: the rules of `fetch/fetch`,
so neither this machine, nor its neighbours, nor a cloud's metadata service can be reached. Only the ports of
the web are. Connections and bytes are bounded, one proxy a session.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from tutti.base.internet import Address, forms, is_plain_host, is_public, resolve

_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_DROPPED = (b"host:", b"connection:", b"proxy-connection:", b"proxy-authorization:", b"keep-alive:")

Allow = Callable[[Address, int], bool]


@dataclass(frozen=True)
class Bounds:
    """`total_bytes`: of all connections, both ways. `stuck_s`: how long the other side may take nothing."""

    connections: int = 32
    total_bytes: int = 4 * 1024**3
    head_s: float = 10.0
    connect_s: float = 10.0
    stuck_s: float = 120.0


class Refused(Exception):
    """The answer's status line: it is what clients show."""


@dataclass(frozen=True)
class Request:
    """`forward`: what the server is sent first; None: the client asks for a tunnel."""

    host: str
    port: int
    forward: bytes | None


def is_public_web(address: Address, port: int) -> bool:
    return port in (80, 443) and is_public(address)


class Egress:
    """Listens from `start` to `close`, which ends its connections."""

    def __init__(self, path: Path, bounds: Bounds, allow: Allow) -> None:
        self._path = path
        self._bounds = bounds
        self._allow = allow
        self._left = bounds.total_bytes
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    async def start(cls, path: Path, bounds: Bounds = Bounds(), allow: Allow = is_public_web) -> "Egress":
        """The socket appears at `path`; anybody who gets there may connect."""
        egress = cls(path, bounds, allow)
        egress._server = await asyncio.start_unix_server(
            egress._accept, sock=_listening(path), limit=_HEAD_BYTES
        )
        return egress

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= 2 * self._bounds.connections:  # each costs this process a descriptor
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = parse(await self._read_head(reader))
            if len(self._open) > self._bounds.connections:
                raise Refused("429 Too many connections at once")
            there, back = await self._connect(request)
        except Refused as error:
            writer.write(f"HTTP/1.1 {error}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        (back if request.forward else writer).write(request.forward or b"HTTP/1.1 200 Connected\r\n\r\n")
        sending = asyncio.create_task(self._pump(reader, back))
        try:
            await self._pump(there, writer)
        finally:
            back.transport.abort()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _read_head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._bounds.head_s):
                return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            raise Refused("400 No complete request") from None

    async def _connect(self, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                addresses = await resolve(request.host, request.port)
                if not all(self._allow(form, request.port) for it in addresses for form in forms(it)):
                    raise Refused("403 Only ports 80 and 443 of the public internet can be reached")
                return await _first(addresses, request.port)
        except (OSError, TimeoutError, UnicodeError):
            raise Refused("502 The host is not known or cannot be reached") from None

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Until the source ends, which the target is told; a session that is over its bytes is cut off."""
        while piece := await source.read(_PIECE_BYTES):
            self._left -= len(piece)
            if self._left < 0:
                target.transport.abort()
                return
            target.write(piece)
            try:
                async with asyncio.timeout(self._bounds.stuck_s):
                    await target.drain()
            except TimeoutError:
                target.transport.abort()
                return
        target.write_eof()


def parse(head: bytes) -> Request:
    """The head of a request to a proxy: CONNECT, or any other method with a whole URL. Raises Refused."""
    first, *headers = head[:-4].split(b"\r\n")
    try:
        method, target, version = first.decode("ascii").split(" ")
        url = URL(f"//{target}" if method == "CONNECT" else target, encoded=True)
        host, port = url.raw_host or "", url.explicit_port or (None if method == "CONNECT" else url.port)
    except ValueError:
        raise Refused("400 Not a request to a proxy") from None
    if not version.startswith("HTTP/1.") or port is None or "@" in url.raw_authority:
        raise Refused("400 Not a request to a proxy")
    if not is_plain_host(host.lower()):
        raise Refused("400 Not a host name")
    if method == "CONNECT":
        return Request(host, port, None)
    if url.scheme != "http":
        raise Refused("400 Only http is passed on: use CONNECT for the rest")
    kept = [line for line in headers if not line.lower().startswith(_DROPPED)]
    lines = [f"{method} {url.raw_path_qs} {version}".encode(), b"host: " + url.raw_authority.encode(), *kept]
    return Request(host, port, b"\r\n".join([*lines, b"connection: close", b"", b""]))


async def _first(
    addresses: Sequence[Address], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first that answers. Raises OSError."""
    failed: OSError = ConnectionError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(str(address), port)
        except OSError as error:
            failed = error
    raise failed


def _listening(path: Path) -> socket.socket:
    """Bound by way of the folder's descriptor: the path of a UNIX socket may have 107 bytes only."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_PATH)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o666)
    return listener
