"""HTTP/1.1 to engines: a whole body is sent, the answer is read as it comes.

Every token passes here, and a general client was a third of what a token cost. So there is nothing that
engines do not need: no redirects, compression, cookies or proxies. URLs that clients name are fetched by
fetch/fetch, never by this.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from tutti.base.clock import monotonic_s
from tutti.dispatch.connection import Broken, Connection, Leaving, NotConnected, Origin

_CONNECT_S = 10.0
_STALE_S = 0.1
"""A kept connection whose server has ended breaks within this time after it is used again."""
_KEEP_ALIVE_S = 2.0
"""How long idle connections are kept. It is shorter than any engine's own time (uvicorn: 5 s), so that no
request meets a connection being closed."""
JSON = "application/json"
_FIELDS = "accept-encoding: identity\r\nuser-agent: tutti\r\n"


class Client:
    """Makes connections, and keeps each for a moment for the next request to the same place."""

    def __init__(self) -> None:
        self._idle: defaultdict[Origin, dict[Connection, asyncio.TimerHandle]] = defaultdict(dict)

    async def post(
        self,
        url: str,
        body: bytes | Sequence[bytes | Path],
        headers: Mapping[str, str],
        content_type: str = JSON,
        leaving: Leaving | None = None,
    ) -> Connection:
        """Send the request, and return the connection with the head of the answer; give it back with
        `release`. Files are read as they are sent; nobody may change them meanwhile. Raises NotConnected or
        Broken.

        A kept connection that breaks as soon as it is used again was being closed: the request is sent once
        more. If the server is gone by then, this very request may have ended it.
        """
        origin, host, path = _parts(url)
        kept = self._kept(origin)
        pieces = [body] if isinstance(body, bytes) else body
        fields = {"host": host, "content-length": str(_size(pieces)), "content-type": content_type, **headers}
        head = b"%b%b\r\n" % (f"POST {path} HTTP/1.1\r\n{_FIELDS}".encode(), _encoded(fields))
        began = monotonic_s()
        try:
            return await _asked(kept or await _connected(origin), head, pieces, headers, leaving)
        except Broken:
            if kept is None or monotonic_s() - began >= _STALE_S:
                raise
        try:
            again = await _connected(origin)
        except NotConnected as gone:
            raise Broken("the server ended when it was asked") from gone
        return await _asked(again, head, pieces, headers, leaving)

    def release(self, connection: Connection, leaving: Leaving | None = None) -> None:
        """Take a connection back. Unless its answer has come to its end, the server's work for it is
        ended."""
        if not connection.reusable:
            _give_up(connection, leaving)
            return
        expire = asyncio.get_running_loop().call_later(_KEEP_ALIVE_S, self._expire, connection)
        self._idle[connection.origin][connection] = expire

    def close(self) -> None:
        for kept in self._idle.values():
            for connection, expire in kept.items():
                expire.cancel()
                connection.abort()
        self._idle.clear()

    def _kept(self, origin: Origin) -> Connection | None:
        """Return the connection that was used last and still works."""
        kept = self._idle[origin]
        while kept:
            connection, expire = kept.popitem()
            expire.cancel()
            if connection.reusable and not connection.has_stray_bytes:
                return connection
            connection.abort()
        return None

    def _expire(self, connection: Connection) -> None:
        del self._idle[connection.origin][connection]
        connection.abort()


async def _asked(
    connection: Connection,
    head: bytes,
    body: Sequence[bytes | Path],
    headers: Mapping[str, str],
    leaving: Leaving | None,
) -> Connection:
    connection.closes = headers.get("connection") == "close"
    try:
        await connection.ask(head, body)
    except BaseException:
        _give_up(connection, leaving)
        raise
    return connection


def _give_up(connection: Connection, leaving: Leaving | None) -> None:
    if leaving is None:
        connection.abort()
    else:
        leaving(connection.leave())


def _size(body: Sequence[bytes | Path]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece.stat().st_size for piece in body)


async def _connected(origin: Origin) -> Connection:
    loop, context = asyncio.get_running_loop(), _tls() if origin.tls else None
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, connection = await loop.create_connection(
                partial(Connection, origin), origin.host, origin.port, ssl=context
            )
    except (OSError, UnicodeError) as error:
        raise NotConnected(str(error)) from error
    return connection


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@lru_cache(256)
def _parts(url: str) -> tuple[Origin, str, str]:
    """Return where to connect to, the Host header, and the path with its query."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    origin = Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls)
    return origin, parts.netloc, parts._replace(scheme="", netloc="", fragment="").geturl() or "/"


def _encoded(headers: Mapping[str, str]) -> bytes:
    """Encode headers. Raises ValueError for a value that would begin another header."""
    if any("\r" in value or "\n" in value for value in headers.values()):
        raise ValueError("a header's value has a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
