"""Recordings on their way to an engine: each in a file while it is transcribed."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tutti.base.errors import InvalidRequest, TooLarge
from tutti.platform import Platform

_FETCH_S = 300.0
_STALE_S = 24 * 3600.0
"""Files that are older than any request: a process that was killed left them behind."""


@dataclass(frozen=True)
class Recording:
    """A recording in a file. `filename` is the client's name for it: only its ending means anything."""

    path: Path
    filename: str


@asynccontextmanager
async def received(
    platform: Platform, data: AsyncIterator[bytes], filename: str
) -> AsyncGenerator[Recording]:
    """Write a recording to a file that is there until the context ends.

    Raises TooLarge, and InvalidRequest for an empty one.
    """
    folder = platform.settings.data_dir / "audio"
    await asyncio.to_thread(_prepare, folder)
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        size = 0
        async for block in data:
            size += len(block)
            if size > platform.settings.max_audio_bytes:
                raise _too_large(platform)
            await asyncio.to_thread(file.write, block)
        if not size:
            raise InvalidRequest("The file is empty.", param="file")
        yield Recording(Path(file.name), filename)


@asynccontextmanager
async def fetched(platform: Platform, url: str) -> AsyncGenerator[Recording]:
    """Fetch a recording into a file that is there until the context ends.

    Raises TooLarge, and InvalidRequest for whatever goes wrong with the URL.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidRequest(
            "Send the recording as a part `file` with a file name, or its URL.", param="file"
        )
    most = platform.settings.max_audio_bytes
    name = platform.fetcher.check(url, param="file").path
    pieces = platform.fetcher.pieces(url, most, _FETCH_S, param="file")
    async with aclosing(pieces), received(platform, pieces, name) as recording:
        yield recording


def _too_large(platform: Platform) -> TooLarge:
    most = platform.settings.max_audio_bytes
    return TooLarge(f"A recording may have at most {most} bytes.", param="file")


def _prepare(folder: Path) -> None:
    """Make the folder, and remove files that were left behind in it."""
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        if left.stat().st_mtime < time.time() - _STALE_S:
            left.unlink(missing_ok=True)
