"""The rows of files, and their states. Each function is one step inside a transaction.

(nothing) -> uploading -> ready -> deleting -> (nothing)
                 \\------------------^
"""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.base.errors import Conflict, NotFound
from tutti.base.ids import new_id
from tutti.features.files.reception import Received
from tutti.features.ownership import missing
from tutti.store.records import File


def prefix(project_id: str, file_id: str) -> str:
    """Return the prefix of the keys of a file's objects: the one that counts, and those of failed
    attempts."""
    return f"{project_id}/files/{file_id}/"


def parts_prefix(project_id: str, upload_id: str) -> str:
    """Return the prefix of the keys of the parts' objects."""
    return f"{project_id}/uploads/{upload_id}/"


def blob_key(file: File) -> str:
    return prefix(file.project_id, file.id) + file.blob


def new_blob() -> str:
    return new_id("blob")


def no_file(file_id: str) -> NotFound:
    return missing("file", file_id, "file_id")


def announced(project_id: str, filename: str, purpose: str, file_type: str, checksum: str = "") -> File:
    """Make a row for a new file. The caller adds it to the session."""
    return File(
        id=new_id("file"),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        file_type=file_type,
        checksum=checksum,
        state="uploading",
        processing_status="PENDING",
        report={},
        created_at=now(),
    )


async def become_ready(session: AsyncSession, file: File, received: Received, **values: Any) -> File:
    """Make the announced file ready with the bytes that were received for it. If the same bytes were there
    first, return the file as it is. Raise NotFound if it was deleted meanwhile, and Conflict if other bytes
    were first."""
    done = {
        "state": "ready",
        "blob": received.blob,
        "size_bytes": received.size_bytes,
        "checksum": received.checksum,
        **values,
    }
    this = (File.id == file.id) & (File.project_id == file.project_id)
    await session.execute(update(File).where(this, File.state == "uploading").values(**done))
    found = await session.scalar(select(File).where(this).execution_options(populate_existing=True))
    if found is None or found.state != "ready":
        raise no_file(file.id)
    if found.checksum != received.checksum:
        raise Conflict(f"File {file.id} has been uploaded already, with other bytes.", code="file_exists")
    return found


async def begin_deleting(session: AsyncSession, project_id: str, file_id: str, *states: str) -> bool:
    """Mark the file as being deleted. Return False if there is none in one of these states."""
    this = (File.id == file_id) & (File.project_id == project_id) & File.state.in_(states)
    result = await session.execute(update(File).where(this).values(state="deleting").returning(File.id))
    return result.first() is not None
