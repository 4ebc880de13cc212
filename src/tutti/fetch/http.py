"""The connections of fetch/fetch, over aiohttp: to the addresses that were checked and to no others."""

import contextlib
import ipaddress
import socket
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from tutti.base.internet import Address
from tutti.fetch.errors import FetchRefused

_CHUNK_BYTES = 64 * 1024


class _Pinned(AbstractResolver):
    """Resolves every host name to the addresses that were checked."""

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
        """Do nothing: there is nothing to close."""


@contextlib.asynccontextmanager
async def connect(
    url: URL,
    addresses: Sequence[Address],
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(
            connector=_connector(addresses),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"accept": "*/*", "accept-encoding": "identity", "user-agent": "tutti"},
        ) as session,
        session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        yield response


def _connector(addresses: Sequence[Address]) -> aiohttp.TCPConnector:
    """Return a connector that opens sockets to `addresses` only, whatever aiohttp or DNS may have decided."""

    def open_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, (host, *_) = info
        if ipaddress.ip_address(host) not in addresses:
            raise FetchRefused("its host is not a public address")
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, socket_factory=open_socket
    )


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise FetchRefused("its content encoding is not supported")
    if encoding == "identity" and (response.content_length or 0) > max_bytes:
        raise FetchRefused(f"it is larger than {max_bytes} bytes")
    return await _body(response, max_bytes, inflating=encoding != "identity")


async def _body(response: aiohttp.ClientResponse, max_bytes: int, *, inflating: bool) -> bytes:
    """Read the body up to `max_bytes`. Decompression stops there too: its second argument limits what one
    chunk may become."""
    inflate = zlib.decompressobj(wbits=47)
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        data += inflate.decompress(chunk, max_bytes + 1 - len(data)) if inflating else chunk
        if len(data) > max_bytes:
            raise FetchRefused(f"it is larger than {max_bytes} bytes")
    if inflating and not inflate.eof:
        raise FetchRefused("the answer is broken")
    return bytes(data)
