"""An HTTP proxy on a UNIX socket: the only way to the network for a sandbox whose project may use it.

The sandbox has no network of its own. A forwarder in it (`workers/interpreter/forwarder`) accepts connections
on a loopback port and passes them to the socket, which is bound into the sandbox. The proxy resolves a host
once. Every address must be on the public internet, and the proxy connects to exactly these addresses: the
rules of `fetch/fetch`. So the code can't reach this machine, its neighbours, or a cloud's metadata service.
Only the ports of the web are allowed. Connections and bytes are limited; each session has a proxy of its
own."""

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
    """Limits of one proxy. `total_bytes`: of all connections, in both directions. `stuck_s`: how long the
    receiving side may accept no data."""

    connections: int = 32
    total_bytes: int = 4 * 1024**3
    head_s: float = 10.0
    connect_s: float = 10.0
    stuck_s: float = 120.0


class ProxyRefusal(Exception):
    """The proxy refuses a request. The text is the status line of its answer, which clients show."""


@dataclass(frozen=True)
class Request:
    """A request to the proxy. `forward` is the head to send to the server; None if the client wants a
    tunnel."""

    host: str
    port: int
    forward: bytes | None


def is_public_web(address: Address, port: int) -> bool:
    return port in (80, 443) and is_public(address)


class Egress:
    """The proxy. It listens from `start` until `close`, which also ends its connections."""

    def __init__(self, path: Path, bounds: Bounds, allow: Allow) -> None:
        self._path = path
        self._bounds = bounds
        self._allow = allow
        self._left = bounds.total_bytes
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    async def start(cls, path: Path, bounds: Bounds = Bounds(), allow: Allow = is_public_web) -> "Egress":
        """Listen on a socket at `path`. Any user who can open the path may connect."""
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
                raise ProxyRefusal("429 Too many connections at once")
            there, back = await self._connect(request)
        except ProxyRefusal as error:
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
            raise ProxyRefusal("400 No complete request") from None

    async def _connect(self, request: Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                addresses = await resolve(request.host, request.port)
                if not all(self._allow(form, request.port) for it in addresses for form in forms(it)):
                    raise ProxyRefusal("403 Only ports 80 and 443 of the public internet can be reached")
                return await _first(addresses, request.port)
        except (OSError, TimeoutError, UnicodeError):
            raise ProxyRefusal("502 The host is not known or cannot be reached") from None

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Copy bytes until the source ends, then end the target's input. Abort when the session has used up
        its bytes, or the target is stuck."""
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
    """Parse the head of a request to a proxy: CONNECT, or another method with a whole URL. Raise ProxyRefusal
    for anything else."""
    first, *headers = head[:-4].split(b"\r\n")
    try:
        method, target, version = first.decode("ascii").split(" ")
        url = URL(f"//{target}" if method == "CONNECT" else target, encoded=True)
        host, port = url.raw_host or "", url.explicit_port or (None if method == "CONNECT" else url.port)
    except ValueError:
        raise ProxyRefusal("400 Not a request to a proxy") from None
    if not version.startswith("HTTP/1.") or port is None or "@" in url.raw_authority:
        raise ProxyRefusal("400 Not a request to a proxy")
    if not is_plain_host(host.lower()):
        raise ProxyRefusal("400 Not a host name")
    if method == "CONNECT":
        return Request(host, port, None)
    if url.scheme != "http":
        raise ProxyRefusal("400 Only http is passed on: use CONNECT for the rest")
    kept = [line for line in headers if not line.lower().startswith(_DROPPED)]
    lines = [f"{method} {url.raw_path_qs} {version}".encode(), b"host: " + url.raw_authority.encode(), *kept]
    return Request(host, port, b"\r\n".join([*lines, b"connection: close", b"", b""]))


async def _first(
    addresses: Sequence[Address], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers. Raise OSError if none does."""
    failed: OSError = ConnectionError("no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(str(address), port)
        except OSError as error:
            failed = error
    raise failed


def _listening(path: Path) -> socket.socket:
    """Bind a socket through its folder's descriptor, because a UNIX socket's path may have only 107 bytes."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_PATH)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o666)
    return listener
