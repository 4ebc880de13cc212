"""Putting work into the queue, and cancelling it."""

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.base.errors import RateLimited
from tutti.base.ids import new_id
from tutti.jobs.args import Args
from tutti.jobs.states import UNFINISHED
from tutti.store.records import JobRow


async def enqueue(
    session: AsyncSession,
    kind: str,
    args: Args,
    *,
    project_id: str,
    id: str | None = None,
    priority: int = 0,
    run_at: float | None = None,
) -> str:
    """Put a job into the queue, and return its id. It joins the caller's transaction: the job is there
    exactly if the resource it works on is. A project's jobs are taken by priority, the higher the sooner,
    then by `run_at`; projects take turns."""
    row = _row(kind, args, project_id, id or new_id("job"), priority, now() if run_at is None else run_at)
    session.add(row)
    await session.flush()
    return row.id


async def check_queue(session: AsyncSession, project_id: str, most: int) -> None:
    """Raise RateLimited if `most` jobs of the project have not ended."""
    unfinished = select(JobRow.id).where(JobRow.status.in_(UNFINISHED), JobRow.project_id == project_id)
    if await session.scalar(unfinished.offset(most - 1).limit(1)) is not None:
        raise RateLimited(
            f"{most} jobs of this project have not ended (--project-jobs): wait for some, or cancel them.",
            code="too_many_jobs",
            retry_after_s=10,
        )


async def cancel(session: AsyncSession, id: str, project_id: str) -> None:
    """Cancel a job: a worker ends it within about a second, a queued one too. Nothing happens if it has ended
    already.

    Call it before other rows are written in the same transaction: a job's ending locks the job's row first,
    then that of its resource, and two orders would be a deadlock.
    """
    this = (JobRow.id == id) & (JobRow.project_id == project_id) & JobRow.status.in_(UNFINISHED)
    await session.execute(update(JobRow).where(this).values(cancel_requested=True))


def _row(kind: str, args: Args, project_id: str, id: str, priority: int, run_at: float) -> JobRow:
    return JobRow(
        id=id,
        kind=kind,
        project_id=project_id,
        status="queued",
        priority=priority,
        args=msgspec.to_builtins(args),
        state={},
        created_at=now(),
        run_at=run_at,
    )
