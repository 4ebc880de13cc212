"""Fetching a URL that a client named, without letting it reach anything but the public internet.

One parser reads the URL (fetch/urls). The host is resolved once, every address must be allowed, and the
connection goes to one of exactly these addresses, so a second DNS answer changes nothing. Each redirect
starts over; a POST is never redirected. No cookies, proxies or credentials are sent but the caller's own
headers; size and time are bounded while bytes arrive.

aiohttp is a tenth of an API worker's memory, and most servers are never sent a URL. So the first fetch
imports the modules that need it.
"""

import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from tutti.base.errors import InvalidRequest
from tutti.base.internet import Address, forms, is_public, literal, resolve
from tutti.fetch.errors import FetchRefused
from tutti.fetch.urls import parse_url, redirected

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MAX_REDIRECTS = 5
_PIECE_BYTES = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Fetched:
    """A body that was fetched. `content_type` is lower-case and without parameters; `url` is where the
    redirects ended."""

    content_type: str
    data: bytes
    url: str


@dataclass(frozen=True)
class Posted:
    """An answer to a POST, of any status but a redirect; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Fetcher:
    """Fetches from hosts all of whose addresses `allow` accepts."""

    def __init__(self, allow: Callable[[Address], bool] = is_public) -> None:
        self._allow = allow

    async def fetch(self, url: str, max_bytes: int, timeout_s: float, *, param: str | None = None) -> Fetched:
        """Fetch the whole body. Raises InvalidRequest, naming `param`, for whatever goes wrong: the URL is
        the client's."""
        from tutti.fetch.failures import fetching  # noqa: PLC0415 - aiohttp, by the first fetch
        from tutti.fetch.http import read_body  # noqa: PLC0415 - aiohttp, by the first fetch

        async with fetching(timeout_s, param), self.open(url) as response:
            _check_status(response)
            data = await read_body(response, max_bytes)
            return Fetched(response.content_type.lower(), data, str(response.url))

    async def pieces(
        self, url: str, max_bytes: int, timeout_s: float, *, param: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Fetch the body in pieces as they come; a compressed one stays compressed. Raises what `fetch`
        raises."""
        from tutti.fetch.failures import fetching  # noqa: PLC0415 - aiohttp, by the first fetch

        async with fetching(timeout_s, param), self.open(url) as response:
            _check_status(response)
            size = 0
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise FetchRefused(f"it is larger than {max_bytes} bytes")
                yield piece

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        max_bytes: int,
        timeout_s: float,
        param: str | None = None,
    ) -> Posted:
        """Send a POST and return the answer. Both errors name `param`: InvalidRequest for a URL or an answer
        that is not allowed, and Unavailable where no complete answer came; the server may then have received
        the request or not."""
        from tutti.fetch.failures import posting  # noqa: PLC0415 - aiohttp, by the first fetch
        from tutti.fetch.http import connect, read_body  # noqa: PLC0415 - aiohttp, by the first fetch

        async with posting(timeout_s, param):
            parsed = parse_url(url)
            async with connect(parsed, await self._resolve(parsed), "POST", body, headers) as response:
                if response.status in _REDIRECTS:
                    raise FetchRefused("it redirects, which a POST may not")
                names = {name.lower(): value for name, value in response.headers.items()}
                return Posted(response.status, names, await read_body(response, max_bytes))

    def check(self, url: str, *, param: str | None = None) -> URL:
        """Parse the URL. Raises InvalidRequest if it would be refused whatever its host resolves to. Parse no
        client's URL in any other way: other parsers raise other errors."""
        try:
            parsed = parse_url(url)
            address = literal(parsed.raw_host or "")
            if address is not None:
                self._check((address,))
        except FetchRefused as error:
            message = f"The URL cannot be used: {error}."
            raise InvalidRequest(message, param=param, code="url_not_fetched") from None
        return parsed

    @contextlib.asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> "AsyncGenerator[ClientResponse]":
        """Yield the answer where the redirects end, of any status and not yet read. Nothing bounds its size
        or time: the caller does. Raises FetchRefused, and what aiohttp raises."""
        from tutti.fetch.http import connect  # noqa: PLC0415 - aiohttp, by the first fetch

        at = parse_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with connect(at, await self._resolve(at), headers=headers) as response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                at = redirected(at, response.headers.get("location", ""))
        raise FetchRefused(f"more than {MAX_REDIRECTS} redirects")

    async def _resolve(self, url: URL) -> Sequence[Address]:
        try:
            addresses = await resolve(url.raw_host or "", url.port)
        except (socket.gaierror, UnicodeError):
            raise FetchRefused("its host name is not known") from None
        self._check(addresses)
        return addresses

    def _check(self, addresses: Sequence[Address]) -> None:
        if not addresses or not all(self._allow(form) for a in addresses for form in forms(a)):
            raise FetchRefused("its host is not a public address")


def _check_status(response: "ClientResponse") -> None:
    if response.status != 200:
        raise FetchRefused(f"the server answered {response.status}")
