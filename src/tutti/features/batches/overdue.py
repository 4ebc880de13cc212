"""Batches whose time is up before anybody has begun them, because too many others were in front."""

import logging

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.jobs.queue import cancel
from tutti.platform import Platform
from tutti.store.records import Batch, JobRow

log = logging.getLogger(__name__)


async def end_overdue(platform: Platform) -> None:
    """What is to be cancelled is taken before all else, whatever the limits; see `is_overdue`."""
    waiting = (JobRow.status == "queued") & ~JobRow.cancel_requested
    query = (
        select(Batch.id, Batch.project_id)
        .join(JobRow, JobRow.id == Batch.id)
        .where(waiting, Batch.deadline_at <= now())
    )
    try:
        async with platform.database.read() as session:
            found = (await session.execute(query)).all()
        for id, project_id in found:
            async with platform.database.begin() as session:
                await cancel(session, id, project_id)
    except (SQLAlchemyError, OSError) as error:
        log.warning("no look for overdue batches", extra={"cause": str(error)})


def is_overdue(batch: Batch) -> bool:
    """Of one whose job was cancelled: no client did it, but `end_overdue`."""
    return batch.cancelling_at is None and batch.deadline_at <= now()
