"""Maintenance: jobs that run at intervals. Each kind has one row, whose id is made of its name."""

from collections.abc import Mapping

from sqlalchemy import select

from tutti.base.clock import now
from tutti.jobs.args import Args
from tutti.jobs.queue import enqueue
from tutti.store.db import Database
from tutti.store.records import JobRow

Schedule = Mapping[str, float]
"""The name of each kind -> seconds between two runs. Its arguments are plain `Args`; its project is ""."""


def scheduled_id(kind: str) -> str:
    return f"every-{kind}"


async def ensure_scheduled(database: Database, schedule: Schedule) -> None:
    """Write the rows that are missing: their kinds run for the first time after their interval. Raises
    IntegrityError where another process does the same in this moment."""
    ids = {scheduled_id(kind): kind for kind in schedule}
    async with database.read() as session:
        there = set(await session.scalars(select(JobRow.id).where(JobRow.id.in_(ids))))
    if there == set(ids):
        return
    async with database.begin() as session:
        for id in ids.keys() - there:
            run_at = now() + schedule[ids[id]]
            await enqueue(session, ids[id], Args(), project_id="", id=id, run_at=run_at)
