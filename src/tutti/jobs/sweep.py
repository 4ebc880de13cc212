"""The first of the maintenance jobs: it deletes jobs that ended long ago, and rows that nobody reads any
more."""

from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.jobs.args import Args
from tutti.jobs.job import Job
from tutti.jobs.kind import Kind
from tutti.jobs.ledger import clear_objects
from tutti.jobs.states import FINISHED
from tutti.store.blobs import Blobs
from tutti.store.db import Database
from tutti.store.records import JobChunk, JobEvent, JobRow, RateWindow

KEPT_S = 30 * 86_400.0
_KEPT_MINUTES = 60
_AT_ONCE = 100


def sweep(database: Database, blobs: Blobs) -> Kind[Args]:
    async def run(job: Job[Args]) -> None:
        """Delete what is out of date. Running it again is safe: it only deletes, and looks for what there is
        to delete each time, objects before the rows that lead to them."""
        await _forget_windows(job)
        while ended := await _ended(database):
            await _forget(job, blobs, ended)

    return Kind("sweep", Args, run, limit=1)


async def _forget_windows(job: Job[Args]) -> None:
    """Delete the counted minutes of rate limits that are over."""
    oldest = int(now() // 60) - _KEPT_MINUTES
    async with job.write() as session:
        await session.execute(delete(RateWindow).where(RateWindow.minute < oldest))


async def _ended(database: Database) -> list[tuple[str, str, bool]]:
    """Return id, project and whether it is old, of jobs that have ended and left something to delete."""
    old = JobRow.finished_at < now() - KEPT_S
    has_chunks = exists().where(JobChunk.job_id == JobRow.id)
    query = (
        select(JobRow.id, JobRow.project_id, old)
        .where(JobRow.status.in_(FINISHED), old | has_chunks)
        .limit(_AT_ONCE)
    )
    async with database.read() as session:
        return [(id, project_id, bool(is_old)) for id, project_id, is_old in await session.execute(query)]


async def _forget(job: Job[Args], blobs: Blobs, ended: list[tuple[str, str, bool]]) -> None:
    for id, project_id, _ in ended:
        if project_id:
            await clear_objects(blobs, project_id, id)
    async with job.write() as session:
        await _delete(session, JobChunk.job_id, [id for id, _, _ in ended])
        for column in (JobEvent.job_id, JobRow.id):
            await _delete(session, column, [id for id, _, is_old in ended if is_old])


async def _delete(session: AsyncSession, column: Any, ids: list[str]) -> None:
    await session.execute(delete(column.class_).where(column.in_(ids)))
