"""Downloading a large file from a URL that a client named: through the guarded fetcher, to the disk, resumed
by Range.

The bytes received so far lie at the file's path; beside it (`.mark`) lie the ETag and the size that the
server named. A file whose ETag changed meanwhile is downloaded anew.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec

from tutti.base.errors import Unavailable
from tutti.fetch.errors import FetchRefused
from tutti.fetch.fetch import Fetcher
from tutti.fetch.resume import SPARE_BYTES, extent, is_disk_full, is_transient, pause_s

_CHUNK = 1 << 20
_QUIET_S = 30.0
"""The longest time without a single byte."""
_TRIES = 5
"""Tries in a row without a single byte, after which the download is given up."""

Moved = Callable[[int, int], None]
"""Called with the number of bytes received and the file's size (0: unknown)."""


class NotDownloaded(Exception):
    """The download failed for good: another try would end the same. The message is for the client, and
    contains no part of the URL."""


class _Again(Exception):
    """The download failed, and is worth another try."""


class _Mark(msgspec.Struct, frozen=True):
    etag: str
    total_bytes: int


async def download(fetcher: Fetcher, url: str, path: Path, max_bytes: int, moved: Moved) -> None:
    """Download the file to `path`, continuing with the bytes that are there. Raises NotDownloaded, or
    Unavailable: the bytes received are then kept for a later call."""
    failed = 0
    while True:
        before = _size(path)
        try:
            return await _once(fetcher, url, path, max_bytes, moved)
        except FetchRefused as error:
            raise NotDownloaded(f"The file cannot be downloaded: {error}.") from error
        except (_Again, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            failed = 1 if _size(path) > before else failed + 1
            if failed >= _TRIES:
                raise Unavailable(f"The file cannot be downloaded now: {_cause(error)}.") from error
            await asyncio.sleep(pause_s(failed))
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise NotDownloaded("The server has no room left for the file.") from error


async def _once(fetcher: Fetcher, url: str, path: Path, max_bytes: int, moved: Moved) -> None:
    mark, there = _read_mark(path), _size(path)
    headers = {"range": f"bytes={there}-", "if-range": mark.etag} if mark and there else {}
    if mark and there and there == mark.total_bytes:
        return
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(_QUIET_S):
            response = await stack.enter_async_context(fetcher.open(url, headers))
        if response.status == 416:
            path.unlink(missing_ok=True)
            raise _Again("the server has less than came before")
        start, total = _extent(response)
        if total > max_bytes:
            raise NotDownloaded(f"The file has {total} bytes; at most {max_bytes} are taken.")
        if total and total - start + SPARE_BYTES > shutil.disk_usage(path.parent).free:
            raise NotDownloaded(f"The server has no room for the file's {total} bytes.")
        if start and mark and response.headers.get("etag") != mark.etag:
            path.unlink()
            raise _Again("the file has changed")
        if start not in (0, there):
            raise NotDownloaded("The file cannot be downloaded: another range came than the one asked for.")
        _write_mark(path, response, total)
        with path.open("r+b" if start else "wb") as file:
            file.truncate(start)
            file.seek(start)
            await _receive(response, file, max_bytes, lambda size: moved(size, total))
    if total and _size(path) < total:
        raise _Again("the connection was cut")


def _extent(response: aiohttp.ClientResponse) -> tuple[int, int]:
    """Return the position of the body in the file, and the file's size (0: unknown). Raises _Again,
    NotDownloaded."""
    status = response.status
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NotDownloaded("The file cannot be downloaded: the server compresses it.")
    if (found := extent(response)) is not None:
        return found
    if is_transient(status):
        raise _Again(f"the server answered {status}")
    hint = ": a signed URL may have expired, make a new one" if status in (401, 403) else ""
    raise NotDownloaded(f"The file cannot be downloaded: the server answered {status}{hint}.")


async def _receive(
    response: aiohttp.ClientResponse, file: BinaryIO, max_bytes: int, moved: Callable[[int], None]
) -> None:
    size = file.tell()
    while True:
        async with asyncio.timeout(_QUIET_S):
            chunk = await response.content.read(_CHUNK)
        if not chunk:
            return
        size += len(chunk)
        if size > max_bytes:
            raise NotDownloaded(f"The file has more than the {max_bytes} bytes that are taken.")
        await asyncio.to_thread(file.write, chunk)
        moved(size)


def _mark_path(path: Path) -> Path:
    return path.with_name(path.name + ".mark")


def _read_mark(path: Path) -> _Mark | None:
    try:
        return msgspec.json.decode(_mark_path(path).read_bytes(), type=_Mark)
    except (OSError, msgspec.MsgspecError):
        return None


def _write_mark(path: Path, response: aiohttp.ClientResponse, total: int) -> None:
    """Keep the ETag and size for a later resumption. Only a strong ETag proves that the bytes are the same:
    without one the next try begins anew."""
    etag = response.headers.get("etag", "")
    if etag.startswith('"'):
        _mark_path(path).write_bytes(msgspec.json.encode(_Mark(etag, total)))
    else:
        _mark_path(path).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cause(error: Exception) -> str:
    if isinstance(error, _Again):
        return str(error)
    return (
        f"nothing came for {_QUIET_S:.0f} s"
        if isinstance(error, TimeoutError)
        else "the server cannot be reached"
    )
