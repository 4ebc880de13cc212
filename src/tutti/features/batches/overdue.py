"""Batches whose window ended before they began, because too many others were in front of them."""

import logging

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.jobs.queue import cancel
from tutti.platform import Platform
from tutti.store.records import Batch, JobRow

log = logging.getLogger(__name__)


async def end_overdue(platform: Platform) -> None:
    """Cancel the jobs of batches that still wait when their window ends. Cancelled jobs are taken first,
    whatever the limits, so these batches end soon; `is_overdue` tells them from those that clients
    cancelled."""
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
    """Return True if the cancelled batch was cancelled by `end_overdue`, and not by a client."""
    return batch.cancelling_at is None and batch.deadline_at <= now()
