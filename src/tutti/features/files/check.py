"""The check of a file's content once it is ready, by its purpose."""

from contextlib import aclosing, closing

from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.errors import InvalidRequest
from tutti.features.files.checks.file import Check, is_checked
from tutti.features.files.checks.report import Report
from tutti.features.files.service import lines
from tutti.features.files.table import table_rows
from tutti.jobs.args import Args
from tutti.jobs.queue import enqueue
from tutti.platform import Platform
from tutti.store.records import File

KIND = "file_check"
_PREFIX = "check-"


async def enqueue_check(session: AsyncSession, file: File) -> None:
    """Enqueue the check in the transaction that makes the file ready. Only some purposes ask for a check."""
    if not is_checked(file.purpose):
        file.processing_status = "COMPLETED"
        return
    file.processing_status = "QUEUED"
    await enqueue(session, KIND, Args(), project_id=file.project_id, id=_PREFIX + file.id)


def file_of(job_id: str) -> str:
    """Return the id of the file that the job checks."""
    return job_id.removeprefix(_PREFIX)


async def examine(platform: Platform, file: File) -> Report:
    """Check the whole file. Raise NotFound once it is deleted."""
    with closing(Check(file.purpose, file.file_type)) as check:
        if check.full:
            return check.end()
        if file.file_type == "jsonl":
            await _lines(platform, file, check)
        else:
            await _rows(platform, file, check)
        return check.end()


async def _lines(platform: Platform, file: File, check: Check) -> None:
    number = 0
    try:
        async for line in lines(platform, file):
            number += 1
            check.line(number, line)
            if check.full:
                break
    except InvalidRequest as error:  # a line too long to be read
        check.wrong(number + 1, error.message)


async def _rows(platform: Platform, file: File, check: Check) -> None:
    async with aclosing(table_rows(platform, file)) as rows:
        async for row in rows:
            check.row(row)
            if check.full:
                return
