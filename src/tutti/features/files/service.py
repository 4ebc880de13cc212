"""Files for other features: found, read, made. `uploads` and `parts` have the ways to upload them.

A file's bytes are one object that never changes. Its row is there first (`uploading`), then the object,
then the row becomes `ready`. It goes the other way round: the row becomes `deleting`, then the object goes,
then the row. So a crash anywhere leaves a row that `sweep` finds, and no object that nobody knows of.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.base.errors import InvalidRequest, Unavailable
from tutti.features.files import rows
from tutti.features.files.checks.file import BOM
from tutti.features.files.names import basename, file_type
from tutti.features.files.reception import Expected, Received, receive
from tutti.features.files.shapes import stored_purpose
from tutti.features.ownership import find_owned
from tutti.platform import Platform
from tutti.store.records import File

MAX_LINE_BYTES = 16 * 1024 * 1024

Write = Callable[[], AbstractAsyncContextManager[AsyncSession]]
"""Opens a transaction: `job.write`, or `platform.database.begin` where there is no job."""
Also = Callable[[AsyncSession, File], Awaitable[None]]


async def find(platform: Platform, project_id: str, file_id: str) -> File:
    """Return the project's file. Raise NotFound unless it is there and ready."""
    absent, is_ready = rows.no_file(file_id), File.state == "ready"
    return await find_owned(platform.database, File, project_id, file_id, absent, is_ready)


async def content(
    platform: Platform, file: File, start: int = 0, end: int | None = None
) -> AsyncIterator[bytes]:
    """Yield the bytes from `start` up to but not including `end`. Raise NotFound once the file is deleted."""
    try:
        async for chunk in platform.blobs.stream(rows.blob_key(file), start, end):
            yield chunk
    except FileNotFoundError as error:
        raise rows.no_file(file.id) from error


async def lines(platform: Platform, file: File) -> AsyncIterator[bytes]:
    """Yield all lines, empty ones too, without line ends (LF or CRLF) and byte order mark. Memory is flat:
    raise InvalidRequest, naming the line, for one of more than MAX_LINE_BYTES."""
    number, rest = 1, bytearray()
    async for chunk in _unmarked(content(platform, file)):
        first, *others = chunk.split(b"\n")
        rest += first
        for following in others:
            yield _line(rest, number)
            number, rest = number + 1, bytearray(following)
        _check_length(rest, number)
    if rest:
        yield _line(rest, number)


async def make(
    platform: Platform,
    write: Write,
    *,
    project_id: str,
    filename: str,
    purpose: str,
    data: AsyncIterator[bytes],
    file_id: str | None = None,
    also: Also | None = None,
) -> File:
    """Make a file of the server's own: it is ready, and its content not checked. With a `file_id` this may be
    called again after a crash: a file that is ready already is returned as it is, and `data` is not read.

    `write` is opened twice, before the bytes are stored and after that; `also` joins the second
    transaction, the one that makes the file ready, so it is done exactly once.
    """
    file = rows.announced(project_id, basename(filename), stored_purpose(purpose), file_type(None, filename))
    file.id = file_id or file.id
    async with write() as session:
        known = await session.get(File, file.id)
        if known is not None and known.state == "ready":
            return known
        if known is not None and known.state == "deleting":
            raise Unavailable(f"File {file.id} is being deleted.", retry_after_s=1)
        await session.merge(file)
    prefix = rows.prefix(project_id, file.id)
    received = await receive(platform.blobs, prefix, rows.new_blob(), data, Expected(min_bytes=0))
    async with write() as session:
        return await _add(session, file, received, also)


async def _add(session: AsyncSession, file: File, received: Received, also: Also | None) -> File:
    ready = await rows.become_ready(session, file, received, processing_status="COMPLETED", created_at=now())
    if ready.blob == received.blob and also is not None:
        await also(session, ready)
    return ready


async def _unmarked(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    start = b""
    async for chunk in data:
        start += chunk
        if len(start) >= len(BOM):
            yield start.removeprefix(BOM)
            break
    else:
        yield start.removeprefix(BOM)
    async for chunk in data:
        yield chunk


def _line(line: bytearray, number: int) -> bytes:
    _check_length(line, number)
    return bytes(line[:-1] if line.endswith(b"\r") else line)


def _check_length(line: bytearray, number: int) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise InvalidRequest(f"Line {number} is longer than {MAX_LINE_BYTES} bytes.", param="file")
