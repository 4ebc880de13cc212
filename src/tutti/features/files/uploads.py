"""Uploads of a file: its bytes follow its description, to a URL of its own, or come with it in one
request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import select, update

from tutti.base.errors import Conflict, TuttiError
from tutti.features.files import rows
from tutti.features.files.check import enqueue_check
from tutti.features.files.deletion import discard, give_up
from tutti.features.files.forms import FilePart, MultipartForm, parse
from tutti.features.files.names import basename, file_type
from tutti.features.files.quota import room_left
from tutti.features.files.reception import Expected, Received, check_checksum, compare, receive
from tutti.features.files.schemas import Announcement, UploadForm
from tutti.features.files.shapes import stored_purpose
from tutti.jobs.queue import check_queue
from tutti.platform import Platform
from tutti.store.records import File

UNKNOWN_BYTES = -1


@dataclass(frozen=True)
class Duplicate:
    """There is a file with these bytes and this purpose already."""

    file_id: str


async def announce(platform: Platform, project_id: str, wanted: Announcement) -> File | Duplicate:
    """Add a file that can be uploaded from now on, unless the project has one with these bytes and
    purpose."""
    file = _announced(project_id, wanted)
    await check_room(platform, project_id)
    same = select(File.id).where(
        File.project_id == project_id,
        File.checksum == file.checksum,
        File.purpose == file.purpose,
        File.state == "ready",
    )
    async with platform.database.begin() as session:
        known = await session.scalar(same.limit(1)) if file.checksum else None
        if known is None:
            session.add(file)
    return file if known is None else Duplicate(known)


async def put(
    platform: Platform, project_id: str, file_id: str, data: AsyncIterator[bytes], length: int | None
) -> File:
    """Store the bytes of an announced file. `length` is what the request announces. Putting the same bytes
    again is no error."""
    most_bytes = await check_room(platform, project_id, length, besides=file_id)
    file = await _awaited(platform, project_id, file_id, length)
    if file.state == "ready":
        await compare(data, Expected(size_bytes=file.size_bytes, checksum=file.checksum))
        return file
    expected = Expected(most_bytes, size_bytes=length, checksum=file.checksum)
    prefix = rows.prefix(project_id, file_id)
    return await finish(
        platform, file, await receive(platform.blobs, prefix, rows.new_blob(), data, expected)
    )


async def upload(
    platform: Platform, project_id: str, form: MultipartForm, part: FilePart, length: int | None
) -> File:
    """Upload a file whose bytes are a part of the form, which has `length` bytes. The other fields may stand
    behind it."""
    form.fields.setdefault("file_name", part.filename)
    if "purpose" in form.fields:
        parse(UploadForm, form.fields)  # if it is wrong, refuse it before the upload
    most_bytes = await check_room(platform, project_id, length)
    file = rows.announced(project_id, part.filename, "", "")
    file.size_bytes = length or 0
    async with platform.database.begin() as session:
        session.add(file)
    try:
        expected = Expected(most_bytes)
        prefix = rows.prefix(project_id, file.id)
        received = await receive(platform.blobs, prefix, rows.new_blob(), part.data, expected)
        await form.finish()
        fields = parse(UploadForm, form.fields)
        check_checksum((fields.checksum or "").lower(), received.checksum)
        return await finish(platform, file, received, fields)
    except Exception:
        await give_up(platform, file)
        raise


async def finish(platform: Platform, file: File, received: Received, form: UploadForm | None = None) -> File:
    """Make the file ready and have its content checked, in one transaction."""
    values = {} if form is None else _described(file, form)
    try:
        async with platform.database.begin() as session:
            ready = await rows.become_ready(session, file, received, **values)
            if ready.blob == received.blob:
                await enqueue_check(session, ready)
    except TuttiError:  # and no other error: after one of the database the row may well be ready
        await discard(platform, rows.prefix(file.project_id, file.id) + received.blob)
        raise
    if ready.blob != received.blob:
        await discard(platform, rows.prefix(file.project_id, file.id) + received.blob)
    return ready


async def check_room(
    platform: Platform, project_id: str, length: int | None = None, *, besides: str = ""
) -> int:
    """Return how many bytes may come. Raise QuotaExceeded or RateLimited if the project has no more room, for
    the bytes or for the job that checks them."""
    left = await room_left(platform, project_id, length, besides=besides)
    async with platform.database.read() as session:
        await check_queue(session, project_id, platform.settings.project_jobs)
    return min(platform.settings.max_file_bytes, left)


async def _awaited(platform: Platform, project_id: str, file_id: str, length: int | None) -> File:
    """Return the file whose bytes are being put. Raise NotFound, or Conflict for a second attempt that can't
    be told from a part of the first: clients that send no checksum also try again with the rest of the file.
    So the length of the first attempt is kept; without one, there is no second attempt."""
    this = (File.id == file_id) & (File.project_id == project_id)
    size_bytes = UNKNOWN_BYTES if length is None else length
    first = update(File).where(this, File.state == "uploading", File.checksum == "", File.size_bytes == 0)
    async with platform.database.begin() as session:
        begun = await session.execute(first.values(size_bytes=size_bytes).returning(File.id))
        is_first = begun.first() is not None
        file = await session.scalar(select(File).where(this, File.state.in_(("uploading", "ready"))))
    if file is None:
        raise rows.no_file(file_id)
    whole = is_first or bool(file.checksum) or file.size_bytes == length
    if file.state == "uploading" and not whole:
        raise Conflict(
            f"File {file_id} was sent before, with another length or none and no checksum: upload it anew.",
            code="upload_broken",
        )
    return file


def _announced(project_id: str, wanted: Announcement) -> File:
    name = basename(wanted.file_name)
    return rows.announced(
        project_id,
        name,
        stored_purpose(wanted.purpose),
        file_type(wanted.file_type, name),
        (wanted.checksum or "").lower(),
    )


def _described(file: File, form: UploadForm) -> dict[str, object]:
    """Return the columns that the form decides: the file's row was there before the form was read."""
    announced = _announced(file.project_id, form)
    lasts_s = form.expires_after_seconds
    return {
        "filename": announced.filename,
        "purpose": announced.purpose,
        "file_type": announced.file_type,
        "expires_at": None if lasts_s is None else file.created_at + lasts_s,
    }
