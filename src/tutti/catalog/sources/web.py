"""Downloads over HTTP: resumed by Range, retried with back-off, given up at once where nothing answers."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from tutti.base.settings import Settings
from tutti.catalog.sources.base import SourceFailed, Unreachable, WrongContent
from tutti.catalog.sources.partial import Partial
from tutti.fetch.resume import extent, is_transient, pause_s

_ATTEMPTS = 5
_FIRST_ATTEMPTS = 2
"""Tries for a host that has not answered yet."""
_CONNECT_S = 15.0
_CONNECT_BRIEFLY_S = 3.0
"""The time to connect where there is another source to turn to."""
_READ_S = 30.0
_LONGEST_PAUSE_S = 30.0
_CHUNK = 1 << 20
_MAX_JSON = 64 << 20
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


class _Transient(Exception):
    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Web:
    """The connections of one pull; remembers which hosts answered and which did not."""

    def __init__(self, settings: Settings) -> None:
        self._hub = URL(settings.hub_url)
        self._token = settings.hub_token
        self._answered: set[URL] = set()
        self._dead: dict[URL, str] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(trust_env=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def json(self, url: str) -> Any:
        """Get a JSON document. Raises SourceFailed."""
        failed = 0
        while True:
            try:
                return await self._json_once(URL(url))
            except _Transient as error:
                failed += 1
                await self._pause(URL(url), error, failed)

    async def download(self, url: str, partial: Partial) -> None:
        """Download the rest of `partial`. Raises SourceFailed, WrongContent or DiskFull."""
        failed = 0
        while True:
            before = partial.size
            try:
                return await self._download_once(URL(url), partial)
            except _Transient as error:
                failed = 1 if partial.size > before else failed + 1
                await self._pause(URL(url), error, failed)

    async def _json_once(self, url: URL) -> Any:
        try:
            async with self._get(url, {}, _CONNECT_S) as response:
                self._accept(url, response)
                body = bytearray()
                async for chunk in response.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > _MAX_JSON:
                        raise SourceFailed(f"{url} answered with too much")
                return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise SourceFailed(f"{url} did not answer with JSON") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._fault(url, error) from error

    async def _download_once(self, url: URL, partial: Partial) -> None:
        headers = {"accept-encoding": "identity"}
        if partial.size:
            headers["range"] = f"bytes={partial.size}-"
        connect_s = _CONNECT_S if len(partial.wanted.sources) == 1 else _CONNECT_BRIEFLY_S
        try:
            async with self._get(url, headers, connect_s) as response:
                await self._receive(url, response, partial)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._fault(url, error) from error

    async def _receive(self, url: URL, response: aiohttp.ClientResponse, partial: Partial) -> None:
        if response.status == 416:
            await asyncio.to_thread(partial.cut, 0)
            raise _Transient("the server has less than we have")
        self._accept(url, response)
        _check_digest(response, partial)
        start, total = extent(response) or (-1, 0)
        if 0 <= start < partial.size:
            await asyncio.to_thread(partial.cut, start)
        if start != partial.size:
            raise SourceFailed(f"{url} sent another range than the one asked for")
        wanted = partial.wanted.size_bytes
        if wanted and total and total != wanted:
            raise WrongContent(f"{url} has {total} bytes instead of {wanted}")
        async for chunk in response.content.iter_chunked(_CHUNK):
            await asyncio.to_thread(partial.write, chunk)
        if partial.size < (total or wanted):
            raise _Transient("the connection was cut")

    def _get(
        self, url: URL, headers: Mapping[str, str], connect_s: float
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        origin = url.origin()
        if origin in self._dead:
            raise Unreachable(self._dead[origin])
        # aiohttp drops this header where a redirect leads to another host.
        token = (
            {"authorization": f"Bearer {self._token}"} if self._token and origin == self._hub.origin() else {}
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=_READ_S)
        return self._session.get(url, headers={**headers, **token}, timeout=timeout, max_redirects=5)

    def _accept(self, url: URL, response: aiohttp.ClientResponse) -> None:
        self._answered.add(url.origin())
        status = response.status
        if status in (401, 403):
            raise SourceFailed(
                f"{url} answered {status}: it is gated or private; accept its terms on its page and give a "
                "token (TUTTI_HUB_TOKEN, or hf_token of an upload)"
            )
        if is_transient(status):
            raise _Transient(f"answered {status}", _retry_after(response))
        if status not in (200, 206):
            raise SourceFailed(f"{url} answered {status}")

    def _fault(self, url: URL, error: Exception) -> Exception:
        origin = url.origin()
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, _NOT_CONNECTED) and origin not in self._answered:
            return self._give_up(origin, cause)
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.TooManyRedirects)):
            return SourceFailed(f"{url}: {cause}")
        return _Transient(cause)

    def _give_up(self, origin: URL, cause: str) -> Unreachable:
        self._dead[origin] = f"{origin} cannot be reached ({cause})"
        return Unreachable(self._dead[origin])

    async def _pause(self, url: URL, error: _Transient, failed: int) -> None:
        answered = url.origin() in self._answered
        if not answered and failed >= _FIRST_ATTEMPTS:
            raise self._give_up(url.origin(), str(error)) from error
        if failed >= _ATTEMPTS:
            raise SourceFailed(f"{url} failed {failed} times; the last time: {error}") from error
        await asyncio.sleep(min(error.pause_s or pause_s(failed), _LONGEST_PAUSE_S))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _check_digest(response: aiohttp.ClientResponse, partial: Partial) -> None:
    """Raise WrongContent unless the file has the wanted hash, as far as headers say. Hugging Face names the
    SHA-256 of a large file in the redirect, so a wrong one need not be fetched."""
    wanted = partial.wanted.digest
    for answer in (*response.history, response):
        linked = answer.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        if len(linked) == 64 and len(wanted) == 64 and linked != wanted:
            raise WrongContent(f"{answer.url} has hash {linked} instead of {wanted}")
