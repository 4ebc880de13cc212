"""Fetching a URL that a client named, without letting it reach anything but the public internet.

One parser (yarl, the one aiohttp connects by) reads the URL. The host is resolved once, every address must be
allowed, and the connection goes to one of exactly these addresses, so a second DNS answer changes nothing.
Each redirect starts over; a POST is never redirected. No cookies, proxies or credentials but the caller's own
headers; size and time are bounded while bytes arrive.
"""

import asyncio
import contextlib
import importlib
import re
import socket
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from yarl import URL

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.internet import Address, forms, is_plain_host, is_public, literal, resolve

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MAX_REDIRECTS = 5
MAX_URL_LENGTH = 8192
_PIECE_BYTES = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNREADABLE = (ValueError, IndexError)
"""What yarl raises: `http://[]@` is an IndexError."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")


@dataclass(frozen=True)
class Fetched:
    """`content_type` is lower-case and without parameters; `url` is where the redirects ended."""

    content_type: str
    data: bytes
    url: str


@dataclass(frozen=True)
class Posted:
    """An answer of any status but a redirect; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Refused(Exception):
    """Why a fetch failed, in words that are safe to show to the client."""


class Fetcher:
    def __init__(self, allow: Callable[[Address], bool] = is_public) -> None:
        self._allow = allow

    async def fetch(self, url: str, max_bytes: int, timeout_s: float, *, param: str | None = None) -> Fetched:
        """Raises InvalidRequest, naming `param`, for whatever goes wrong: the URL is the client's."""
        async with _explained(timeout_s, param):
            return await self._follow(url, max_bytes)

    async def pieces(
        self, url: str, max_bytes: int, timeout_s: float, *, param: str | None = None
    ) -> AsyncGenerator[bytes]:
        """As `fetch`, in pieces as they come; what is compressed stays so."""
        async with _explained(timeout_s, param), self.open(url) as response:
            _check_status(response)
            size = 0
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(max_bytes)
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
        """Raises InvalidRequest, naming `param`, for what must not be asked or answers what it must not, and
        Unavailable where there was no complete answer: then it may have been heard or not."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, body, headers, max_bytes)
        except Refused as error:
            raise _not_posted(str(error), param) from None
        except (_http().aiohttp.InvalidURL, zlib.error, ValueError):
            raise _not_posted("the answer is broken", param) from None
        except TimeoutError:
            reason = f"no complete answer within {timeout_s:g} s"
        except (_http().aiohttp.ClientError, OSError):
            reason = "the server cannot be reached"
        raise Unavailable(f"Cannot POST to the URL: {reason}.", param=param, code="url_not_posted")

    def check(self, url: str, *, param: str | None = None) -> URL:
        """Return what the URL says. Raises InvalidRequest where it would be refused whatever its host
        resolves to. Read no client's URL in any other way: other parsers raise other errors."""
        try:
            parsed = parse_url(url)
            address = literal(parsed.raw_host or "")
            if address is not None:
                self._check((address,))
        except Refused as error:
            message = f"The URL cannot be used: {error}."
            raise InvalidRequest(message, param=param, code="url_not_fetched") from None
        return parsed

    async def _post(self, text: str, body: bytes, headers: Mapping[str, str], max_bytes: int) -> Posted:
        url = parse_url(text)
        async with _http().connect(url, await self._resolve(url), "POST", body, headers) as response:
            if response.status in _REDIRECTS:
                raise Refused("it redirects, which a POST may not")
            names = {name.lower(): value for name, value in response.headers.items()}
            return Posted(response.status, names, await _http().read_body(response, max_bytes))

    @contextlib.asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> "AsyncGenerator[ClientResponse]":
        """The answer where the redirects end, of any status and not yet read. Bounded by nothing: the caller
        minds size and time. Raises Refused, and what aiohttp raises."""
        at = parse_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with _http().connect(at, await self._resolve(at), headers=headers) as response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                at = _redirected(at, response.headers.get("location", ""))
        raise Refused(f"more than {MAX_REDIRECTS} redirects")

    async def _follow(self, text: str, max_bytes: int) -> Fetched:
        async with self.open(text) as response:
            _check_status(response)
            data = await _http().read_body(response, max_bytes)
            return Fetched(response.content_type.lower(), data, str(response.url))

    async def _resolve(self, url: URL) -> Sequence[Address]:
        addresses = await _addresses(url)
        self._check(addresses)
        return addresses

    def _check(self, addresses: Sequence[Address]) -> None:
        if not addresses or not all(self._allow(form) for a in addresses for form in forms(a)):
            raise Refused("its host is not a public address")


def _http() -> ModuleType:
    """Loaded by the first URL: a tenth of an API worker's memory, and most servers are never sent one."""
    return importlib.import_module("tutti.fetch.http")


@contextlib.asynccontextmanager
async def _explained(timeout_s: float, param: str | None) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
        return
    except TimeoutError:
        reason = f"no complete answer within {timeout_s:g} s"
    except (Refused, _http().aiohttp.ClientPayloadError, zlib.error) as error:
        reason = str(error) if isinstance(error, Refused) else "the answer is broken"
    except (_http().aiohttp.ClientError, OSError, ValueError):
        reason = "the server cannot be reached"
    raise InvalidRequest(f"Cannot fetch the URL: {reason}.", param=param, code="url_not_fetched")


def _check_status(response: "ClientResponse") -> None:
    if response.status != 200:
        raise Refused(f"the server answered {response.status}")


def _too_large(max_bytes: int) -> Refused:
    return Refused(f"it is larger than {max_bytes} bytes")


def _not_posted(reason: str, param: str | None) -> InvalidRequest:
    return InvalidRequest(f"Cannot POST to the URL: {reason}.", param=param, code="url_not_posted")


# --- reading the URL ----------------------------------------------------------------------------------------


def parse_url(text: str) -> URL:
    """An absolute http(s) URL that every parser reads alike, or Refused."""
    if len(text) > MAX_URL_LENGTH or _FORBIDDEN.search(text):
        raise Refused("it is too long, or has a backslash, a space or a control character")
    try:
        return _checked(URL(text))
    except _UNREADABLE:
        raise Refused("it is not a valid URL") from None


def _redirected(base: URL, location: str) -> URL:
    if not location or len(location) > MAX_URL_LENGTH or _FORBIDDEN.search(location):
        raise Refused("it redirects to an invalid location")
    try:
        return _checked(base.join(URL(location)))
    except _UNREADABLE:
        raise Refused("it redirects to an invalid location") from None


def _checked(url: URL) -> URL:
    if url.scheme not in ("http", "https"):
        raise Refused("only http and https are allowed")
    if "@" in url.raw_authority:
        raise Refused("a user name or password is not allowed")
    if not url.port or not is_plain_host(url.raw_host or ""):
        raise Refused("its host or port is not valid")
    return url


# --- addresses ----------------------------------------------------------------------------------------------


async def _addresses(url: URL) -> Sequence[Address]:
    try:
        return await resolve(url.raw_host or "", url.port)
    except (socket.gaierror, UnicodeError):
        raise Refused("its host name is not known") from None
