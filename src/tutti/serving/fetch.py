"""Fetching a URL that a client named, without letting it reach anything but the public internet.

One parser (yarl, the one aiohttp connects by) reads the URL. The host is resolved once, every address must be
allowed, and the connection goes to one of exactly these addresses, so a second DNS answer changes nothing.
Each redirect starts over. No cookies, credentials or proxies; size and time are bounded while bytes arrive.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tutti.base.errors import InvalidRequest

Address = IPv4Address | IPv6Address

MAX_REDIRECTS = 5
MAX_URL_LENGTH = 8192
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")
_NAME = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?\.?"
)
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")


@dataclass(frozen=True)
class Fetched:
    """`content_type` is lower-case and without parameters; `url` is where the redirects ended."""

    content_type: str
    data: bytes
    url: str


class _Refused(Exception):
    """Why a fetch failed, in words that are safe to show to the client."""


def is_public(address: Address) -> bool:
    """True for addresses of the public internet (older Pythons' `is_global` has holes, closed here)."""
    if address.is_multicast or not address.is_global:
        return False
    return address not in _PROTOCOLS if isinstance(address, IPv4Address) else address in _UNICAST


class Fetcher:
    def __init__(self, allow: Callable[[Address], bool] = is_public) -> None:
        self._allow = allow

    async def fetch(self, url: str, max_bytes: int, timeout_s: float, *, param: str | None = None) -> Fetched:
        """Raises InvalidRequest, naming `param`, for whatever goes wrong: the URL is the client's."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(url, max_bytes)
        except TimeoutError:
            reason = f"no complete answer within {timeout_s:g} s"
        except (_Refused, aiohttp.ClientPayloadError, zlib.error) as error:
            reason = str(error) if isinstance(error, _Refused) else "the answer is broken"
        except (aiohttp.ClientError, OSError, ValueError):
            reason = "the server cannot be reached"
        raise InvalidRequest(f"Cannot fetch the URL: {reason}.", param=param, code="url_not_fetched")

    async def _follow(self, text: str, max_bytes: int) -> Fetched:
        url = parse_url(text)
        for _ in range(MAX_REDIRECTS + 1):
            async with _connect(url, await self._resolve(url)) as response:
                if response.status not in _REDIRECTS:
                    return await _read(response, max_bytes)
                url = _redirected(url, response.headers.get("location", ""))
        raise _Refused(f"more than {MAX_REDIRECTS} redirects")

    async def _resolve(self, url: URL) -> Sequence[Address]:
        addresses = await _addresses(url)
        if not addresses or not all(self._allow(form) for a in addresses for form in _forms(a)):
            raise _Refused("its host is not a public address")
        return addresses


# --- reading the URL ----------------------------------------------------------------------------------------


def parse_url(text: str) -> URL:
    """An absolute http(s) URL that every parser reads alike, or _Refused."""
    if len(text) > MAX_URL_LENGTH or _FORBIDDEN.search(text):
        raise _Refused("it is too long, or has a backslash, a space or a control character")
    try:
        return _checked(URL(text))
    except ValueError:
        raise _Refused("it is not a valid URL") from None


def _redirected(base: URL, location: str) -> URL:
    if not location or len(location) > MAX_URL_LENGTH or _FORBIDDEN.search(location):
        raise _Refused("it redirects to an invalid location")
    try:
        return _checked(base.join(URL(location)))
    except ValueError:
        raise _Refused("it redirects to an invalid location") from None


def _checked(url: URL) -> URL:
    if url.scheme not in ("http", "https"):
        raise _Refused("only http and https are allowed")
    if "@" in url.raw_authority:
        raise _Refused("a user name or password is not allowed")
    if not url.port or not _is_plain_host(url.raw_host or ""):
        raise _Refused("its host or port is not valid")
    return url


def _is_plain_host(host: str) -> bool:
    """A DNS name, or an address in its standard spelling: no octal, hexadecimal or short forms, no zones."""
    return _literal(host) is not None or _NAME.fullmatch(host) is not None


def _literal(host: str) -> Address | None:
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


# --- addresses ----------------------------------------------------------------------------------------------


async def _addresses(url: URL) -> Sequence[Address]:
    host = url.raw_host or ""
    literal = _literal(host)
    if literal is not None:
        return (literal,)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise _Refused("its host name is not known") from None
    return tuple(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


def _forms(address: Address) -> Sequence[Address]:
    """The addresses that packets to this one may end up at: IPv6 also carries IPv4 inside."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,) if address.sixtofour is None else (address, address.sixtofour)


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever it is asked."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Holds nothing."""


# --- one request --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _connect(url: URL, addresses: Sequence[Address]) -> AsyncGenerator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(
            connector=_connector(addresses),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"accept": "*/*", "accept-encoding": "identity", "user-agent": "tutti"},
        ) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        yield response


def _connector(addresses: Sequence[Address]) -> aiohttp.TCPConnector:
    """The socket itself is refused to any other address: the last line, whatever lies in between."""

    def open_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, (host, *_) = info
        if ipaddress.ip_address(host) not in addresses:
            raise _Refused("its host is not a public address")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, socket_factory=open_socket
    )


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> Fetched:
    if response.status != 200:
        raise _Refused(f"the server answered {response.status}")
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise _Refused("its content encoding is not supported")
    if encoding == "identity" and (response.content_length or 0) > max_bytes:
        raise _Refused(f"it is larger than {max_bytes} bytes")
    data = await _body(response, max_bytes, inflating=encoding != "identity")
    return Fetched(response.content_type.lower(), data, str(response.url))


async def _body(response: aiohttp.ClientResponse, max_bytes: int, *, inflating: bool) -> bytes:
    """Decompression stops at the limit too: its second argument bounds what one chunk may become."""
    inflate = zlib.decompressobj(wbits=47)
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        data += inflate.decompress(chunk, max_bytes + 1 - len(data)) if inflating else chunk
        if len(data) > max_bytes:
            raise _Refused(f"it is larger than {max_bytes} bytes")
    if inflating and not inflate.eof:
        raise _Refused("the answer is broken")
    return bytes(data)
