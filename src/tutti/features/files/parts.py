"""Uploads of large files in parts, in any order and several at once. Each attempt at a part is an object of
its own, named by the ETag that its client gets. Completing reads those that the client names, one after the
other."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.base.errors import InvalidRequest, NotFound, TooLarge
from tutti.base.ids import new_id
from tutti.features.files import rows, uploads
from tutti.features.files.deletion import LATER, discard, give_up
from tutti.features.files.quota import room_left
from tutti.features.files.reception import Expected, Received, receive
from tutti.features.files.schemas import CompletedPart, MultipartInitiateRequest
from tutti.features.files.service import find
from tutti.features.ownership import missing
from tutti.platform import Platform
from tutti.store.records import File, Upload, UploadPart


@dataclass(frozen=True)
class Assembly:
    """An upload whose parts are all there. `parts` are the keys of their objects, in order; empty where the
    file is ready already."""

    upload: Upload
    file: File
    parts: tuple[str, ...]


async def initiate(
    platform: Platform, project_id: str, wanted: MultipartInitiateRequest
) -> Upload | uploads.Duplicate:
    most = platform.settings.max_file_bytes
    if wanted.file_size > most:
        raise TooLarge(f"A file may have at most {most} bytes.", param="file_size")
    await room_left(platform, project_id, wanted.file_size)
    announced = await uploads.announce(platform, project_id, wanted)
    if isinstance(announced, uploads.Duplicate):
        return announced
    upload = Upload(
        id=new_id("upload"),
        project_id=project_id,
        file_id=announced.id,
        size_bytes=wanted.file_size,
        num_parts=wanted.num_parts,
        created_at=now(),
    )
    async with platform.database.begin() as session:
        session.add(upload)
    return upload


async def put_part(
    platform: Platform,
    project_id: str,
    upload_id: str,
    number: int,
    data: AsyncIterator[bytes],
    length: int | None,
) -> str:
    """Store a part, and return its ETag without quotes. Raise NotFound, also once the upload has been
    completed or aborted."""
    async with platform.database.read() as session:
        upload, _ = await _upload(session, project_id, upload_id, "uploading")
    if not 1 <= number <= upload.num_parts:
        raise InvalidRequest(f"This upload has parts 1 to {upload.num_parts}.", param="part_number")
    etag = new_id("part").removeprefix("part-")
    most_bytes = min(upload.size_bytes, await room_left(platform, project_id, length))
    expected = Expected(most_bytes, size_bytes=length)
    prefix = rows.parts_prefix(project_id, upload_id)
    received = await receive(platform.blobs, prefix, f"{number}-{etag}", data, expected)
    try:
        async with platform.database.begin() as session:
            await _upload(session, project_id, upload_id, "uploading")
            part = UploadPart(upload_id=upload_id, number=number, etag=etag, size_bytes=received.size_bytes)
            session.add(part)
    except NotFound:
        await discard(platform, prefix + received.blob)
        raise
    return etag


async def assemble(
    platform: Platform, project_id: str, upload_id: str, file_id: str, parts: Sequence[CompletedPart]
) -> Assembly:
    """Return the parts to join. Raise InvalidRequest unless the client names each part once, by an ETag it
    got, and they have the announced size together."""
    async with platform.database.read() as session:
        upload, file = await _upload(session, project_id, upload_id, "uploading", "ready")
        query = select(UploadPart).where(UploadPart.upload_id == upload_id)
        stored = {(part.number, part.etag): part for part in await session.scalars(query)}
    if file.id != file_id:
        raise _no_upload(upload_id)
    if file.state == "ready":
        return Assembly(upload, file, ())
    named = sorted({(part.part_number, part.etag.strip('"')) for part in parts})
    _check(upload, [number for number, _ in named])
    missing = next((number for number, etag in named if (number, etag) not in stored), None)
    if missing is not None:
        raise InvalidRequest(f"Part {missing} has not been uploaded with that ETag.", param="parts")
    size_bytes = sum(stored[key].size_bytes for key in named)
    if size_bytes != upload.size_bytes:
        raise InvalidRequest(
            f"{upload.size_bytes} bytes were announced, the parts have {size_bytes}.", param="parts"
        )
    prefix = rows.parts_prefix(project_id, upload_id)
    return Assembly(upload, file, tuple(f"{prefix}{number}-{etag}" for number, etag in named))


async def complete(platform: Platform, assembly: Assembly) -> File:
    """Join the parts to a file, which takes as long as reading it takes. This may be repeated, even at the
    same time: one of the calls wins."""
    upload, file = assembly.upload, assembly.file
    if not assembly.parts:
        return file
    try:
        received = await _join(platform, assembly)
    except FileNotFoundError:  # another request has completed it meanwhile
        return await find(platform, upload.project_id, file.id)
    ready = await uploads.finish(platform, file, received)
    with contextlib.suppress(*LATER):
        await forget_parts(platform, upload)
    return ready


async def abort(platform: Platform, project_id: str, upload_id: str, file_id: str) -> bool:
    """Give up the upload. Return False if it was completed: its file stays. Raise NotFound for an upload that
    is not there (any more)."""
    async with platform.database.begin() as session:
        upload, file = await _upload(session, project_id, upload_id, "uploading", "ready")
        if file.id != file_id:
            raise _no_upload(upload_id)
    if file.state == "ready":
        return False
    await give_up(platform, file)
    with contextlib.suppress(*LATER):
        await forget(platform, upload)
    return True


async def forget(platform: Platform, upload: Upload) -> None:
    """Delete the upload and its parts: from now on it can't be completed. This may be repeated."""
    await forget_parts(platform, upload)
    async with platform.database.begin() as session:
        await session.execute(delete(Upload).where(Upload.id == upload.id))


async def forget_parts(platform: Platform, upload: Upload) -> None:
    await platform.blobs.delete_all(rows.parts_prefix(upload.project_id, upload.id))
    async with platform.database.begin() as session:
        await session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))


async def _join(platform: Platform, assembly: Assembly) -> Received:
    async def data() -> AsyncIterator[bytes]:
        for key in assembly.parts:
            async for chunk in platform.blobs.stream(key):
                yield chunk

    file = assembly.file
    expected = Expected(size_bytes=assembly.upload.size_bytes, checksum=file.checksum)
    prefix = rows.prefix(file.project_id, file.id)
    return await receive(platform.blobs, prefix, rows.new_blob(), data(), expected)


async def _upload(
    session: AsyncSession, project_id: str, upload_id: str, *states: str
) -> tuple[Upload, File]:
    query = (
        select(Upload, File)
        .join(File, File.id == Upload.file_id)
        .where(Upload.id == upload_id, Upload.project_id == project_id, File.state.in_(states))
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise _no_upload(upload_id)
    return found[0], found[1]


def _check(upload: Upload, numbers: Sequence[int]) -> None:
    if numbers != list(range(1, upload.num_parts + 1)):
        raise InvalidRequest(
            f"Each of the parts 1 to {upload.num_parts} has to be named once.", param="parts"
        )


def _no_upload(upload_id: str) -> NotFound:
    return missing("upload", upload_id, "upload_id")
