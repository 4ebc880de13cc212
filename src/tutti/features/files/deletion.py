"""Deletion of files, and of what failed uploads leave. `sweep` does later what fails here."""

import contextlib
import logging

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.errors import Conflict, TuttiError
from tutti.features.files import rows
from tutti.platform import Platform
from tutti.store.records import Batch, Evaluation, File

_BUSY_BATCH = ("VALIDATING", "IN_PROGRESS")
_BUSY_EVALUATION = ("pending", "queued", "running")
LATER = (TuttiError, SQLAlchemyError, OSError)
"""Errors that may end a deletion here, since the sweep does it again."""

log = logging.getLogger(__name__)


async def delete_file(platform: Platform, project_id: str, file_id: str) -> None:
    """Delete the file: from now on nobody finds it. Raise NotFound, or Conflict while a batch or an
    evaluation reads it."""
    async with platform.database.begin() as session:
        user = await _user(session, project_id, file_id)
        if user is not None:
            raise Conflict(
                f"File {file_id} is in use by {user}: wait until that has ended, or cancel it.",
                code="file_in_use",
            )
        if not await rows.begin_deleting(session, project_id, file_id, "ready"):
            raise rows.no_file(file_id)
    await _purge_now(platform, project_id, file_id)


async def give_up(platform: Platform, file: File) -> None:
    """Delete the file of a failed upload, unless it became ready after all. Raise nothing."""
    try:
        async with platform.database.begin() as session:
            given_up = await rows.begin_deleting(session, file.project_id, file.id, "uploading")
    except (SQLAlchemyError, OSError):
        return
    if given_up:
        await _purge_now(platform, file.project_id, file.id)


async def purge(platform: Platform, project_id: str, file_id: str) -> None:
    """Delete the bytes of a file that is being deleted, then its row. This may be repeated."""
    await platform.blobs.delete_all(rows.prefix(project_id, file_id))
    async with platform.database.begin() as session:
        await session.execute(delete(File).where(File.id == file_id, File.state == "deleting"))


async def discard(platform: Platform, key: str) -> None:
    """Delete the bytes of an attempt that was not needed. Raise nothing."""
    with contextlib.suppress(*LATER):
        await platform.blobs.delete(key)


async def _purge_now(platform: Platform, project_id: str, file_id: str) -> None:
    try:
        await purge(platform, project_id, file_id)
    except LATER as error:
        log.warning("file left to the sweep", extra={"file_id": file_id, "cause": type(error).__name__})


async def _user(session: AsyncSession, project_id: str, file_id: str) -> str | None:
    batch = select(Batch.id).where(
        Batch.project_id == project_id, Batch.input_file_id == file_id, Batch.status.in_(_BUSY_BATCH)
    )
    found = await session.scalar(batch.limit(1))
    if found is not None:
        return f"batch {found}"
    evaluation = select(Evaluation.id).where(
        Evaluation.project_id == project_id,
        Evaluation.status.in_(_BUSY_EVALUATION),
        Evaluation.parameters["input_data_file_path"].as_string() == file_id,
    )
    found = await session.scalar(evaluation.limit(1))
    return None if found is None else f"evaluation {found}"
