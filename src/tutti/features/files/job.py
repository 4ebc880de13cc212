"""The job that checks a file, and counts the tokens of training data."""

import logging
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.errors import InternalError, NotFound
from tutti.features.files.check import KIND, examine, file_of
from tutti.features.files.checks.report import validation_report
from tutti.features.files.counting import base_models, count, keep, known_count
from tutti.features.files.service import find
from tutti.http.inside import Inside
from tutti.jobs.args import Args
from tutti.jobs.errors import Failed
from tutti.jobs.job import Job
from tutti.jobs.kind import Ending, Kind
from tutti.platform import Platform
from tutti.store.records import File

_AT_ONCE = 4
_AT_ONCE_A_PROJECT = 2
log = logging.getLogger(__name__)


def file_check(platform: Platform, _inside: Inside) -> Kind[Args]:
    async def run(job: Job[Args]) -> None:
        """Check the file. Running again is safe: the file is only read, and results are written over, or are
        not computed again."""
        try:
            await _check(platform, job)
        except NotFound as error:
            raise Failed("The file was deleted.") from error

    return Kind(KIND, Args, run, _ended, limit=_AT_ONCE, project_limit=_AT_ONCE_A_PROJECT)


async def _check(platform: Platform, job: Job[Args]) -> None:
    file = await find(platform, job.project_id, file_of(job.id))
    if "valid" not in file.report:
        async with job.write() as session:
            await _set(session, job, processing_status="RUNNING")
        report = validation_report(await examine(platform, file))
        async with job.write() as session:
            await _set(session, job, report=report)
        file.report = report
    if file.report["valid"] and file.purpose == "fine-tune":
        await _count(platform, job, file)


async def _count(platform: Platform, job: Job[Args], file: File) -> None:
    """Count the tokens for each model on this machine. Leave out a model whose own files are broken: the data
    is sound anyway."""
    for model in await base_models(platform, job.project_id):
        if known_count(file.report, model.name) is not None:
            continue
        try:
            answer = await count(platform, file, model)
        except InternalError:
            log.warning("tokens not counted", extra={"model": model.name, "file_id": file.id})
            continue
        async with job.write() as session:
            await keep(session, file, model.name, answer)


async def _ended(session: AsyncSession, job: Job[Args], ending: Ending) -> None:
    if ending.status != "completed":
        await _set(session, job, processing_status="FAILED")
        return
    file = await session.get(File, file_of(job.id))
    if file is not None:
        file.processing_status = "COMPLETED" if file.report.get("valid") else "INVALID_FORMAT"


async def _set(session: AsyncSession, job: Job[Args], **values: Any) -> None:
    this = (File.id == file_of(job.id)) & (File.project_id == job.project_id)
    await session.execute(update(File).where(this).values(**values))
