"""Objects: bytes too large for a row, in a folder of the data directory or an S3 bucket."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tutti.base.clock import now
from tutti.base.errors import Unavailable
from tutti.base.settings import Settings

if TYPE_CHECKING:
    from obstore.store import LocalStore, S3Store

# At least two segments, none of which a file system or S3 could read as anything but a name.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=@+-]*(/[A-Za-z0-9][A-Za-z0-9._=@+-]*)+")
_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9._=@+-]*/)+")
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 2  # each of an upload's is held in memory, and a client puts four uploads at once
_READ_BYTES = 256 * 1024


class Blobs:
    """The objects. Keys are `<project_id>/...`: a path of plain names, or it is a ValueError. A key without
    an object is a FileNotFoundError, a store that cannot be reached Unavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @classmethod
    def open(cls, settings: Settings) -> "Blobs":
        """Open the store that the settings name. S3 credentials come from the usual AWS_* environment
        variables. Mistakes in the settings of a bucket are found at once."""
        blobs = cls(settings)
        if settings.blob_url:
            _ = blobs._store
        return blobs

    @cached_property
    def _store(self) -> "LocalStore | S3Store":
        from tutti.store.objects import open_store  # noqa: PLC0415 - most workers keep no files

        return open_store(self._settings, _folder(self._settings))

    async def put(self, key: str, data: bytes | AsyncIterator[bytes]) -> None:
        """Write an object, all or nothing: until it returns, readers see the object that was there before."""
        async with _reachable():
            await self._store.put_async(
                _checked(key), data, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    async def get(self, key: str) -> bytes:
        async with _reachable():
            result = await self._store.get_async(_checked(key))
            return bytes(await result.bytes_async())

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to but not including `end`, which may lie beyond the object's
        end."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"not a range: {start}-{end}")
        length = await self.size(key)
        start, end = min(start, length), length if end is None else min(end, length)
        if start == end:
            return
        async with _reachable():
            result = await self._store.get_async(key, options={"range": (start, end)})
            async for chunk in result.stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    async def size(self, key: str) -> int:
        async with _reachable():
            return (await self._store.head_async(_checked(key)))["size"]

    async def delete(self, key: str) -> None:
        """Delete an object. Deleting one that is not there is no error."""
        async with _reachable():
            try:
                await self._store.delete_async(_checked(key))
            except FileNotFoundError:
                return

    async def delete_all(self, prefix: str) -> None:
        """Delete all objects below `prefix`, which ends with a slash."""
        for key in await self.list(prefix):
            await self.delete(key)

    async def delete_unfinished(self, older_than_s: float) -> None:
        """Delete objects that processes had begun to write so long ago, and were killed. In a bucket only a
        lifecycle rule can do that: for uploads in parts that were never completed."""
        if not self._settings.blob_url:
            await asyncio.to_thread(_delete_unfinished, _folder(self._settings), now() - older_than_s)

    async def list(self, prefix: str) -> list[str]:
        """Return the keys below `prefix`, which ends with a slash, sorted."""
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"not a prefix of blob keys: {prefix!r}")
        keys: list[str] = []
        async with _reachable():
            pages = self._store.list(prefix)  # pyright: ignore[reportUnknownMemberType]  # pyarrow's overloads
            async for page in pages:
                keys += [entry["path"] for entry in page]
        return sorted(keys)


def _delete_unfinished(folder: Path, before: float) -> None:
    """Delete unfinished files. LocalStore writes an object beside its place, under its name with `#` and a
    number behind."""
    for path in folder.rglob("*#*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _checked(key: str) -> str:
    if len(key) > 1000 or not _KEY.fullmatch(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "blobs"


@asynccontextmanager
async def _reachable() -> AsyncGenerator[None]:
    from obstore.exceptions import BaseError  # noqa: PLC0415 - most workers keep no files

    try:
        yield
    except BaseError as error:
        raise Unavailable("The object store cannot be reached; try again.", retry_after_s=2) from error
