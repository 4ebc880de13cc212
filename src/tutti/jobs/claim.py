"""Taking jobs: the statements that decide which worker runs which job.

The project that was served longest ago goes first, so that however much one project has queued, another's job
is the next but one. Of a project's jobs the one of the highest priority goes first, then the one that is due
longest. Jobs to be cancelled go before all, whatever the limits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, bindparam, func, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from tutti.base.clock import now
from tutti.jobs.kind import Kind
from tutti.jobs.states import Event, after, before
from tutti.store.db import Database
from tutti.store.records import JobRow

_QUEUED = before(Event.CLAIMED)
_RUNNING = before(Event.TAKEN_OVER)
Full = tuple[str, str | None]
"""A kind of which no more may run, in a project or (None) at all."""
_LOCK = text("SELECT pg_advisory_xact_lock(7483650152)")
"""The number of the lock is ours, and means nothing."""


def _due(job: Any, at: Any) -> ColumnElement[bool]:
    queued = and_(job.status == _QUEUED, or_(job.run_at <= at, job.cancel_requested))
    return or_(queued, and_(job.status == _RUNNING, job.leased_until <= at))


_ANY_DUE = select(JobRow.id).where(_due(JobRow, bindparam("at"))).limit(1)


async def any_due(database: Database) -> bool:
    """Return True if there is work for a worker, limits aside. Cheap."""
    return bool(await database.poll(_ANY_DUE, {"at": now()}))


class Claims:
    """Takes jobs for a worker of these kinds."""

    def __init__(self, database: Database, kinds: Iterable[Kind[Any]]) -> None:
        self._limited = {kind.name: kind for kind in kinds if kind.limit or kind.project_limit}
        self._serial = bool(self._limited) and database.engine.dialect.name == "postgresql"

    async def next(self, session: AsyncSession, lock_token: str, leased_until: float) -> JobRow | None:
        """Take the job whose turn it is; None where there is none."""
        if self._serial:
            # Two claims at once would each see the other's job as not yet running. SQLite has one writer
            # anyway.
            await session.execute(_LOCK)
        at = now()
        full = await _full(session, self._limited, at)
        taken = (
            update(JobRow)
            .where(JobRow.id == _next(at, full).scalar_subquery())
            .values(
                status=after(Event.CLAIMED),
                lock_token=lock_token,
                leased_until=leased_until,
                attempt=JobRow.attempt + 1,
                started_at=at,
            )
            .returning(JobRow)
            .execution_options(synchronize_session=False)
        )
        return await session.scalar(taken)


async def extend(
    session: AsyncSession, lock_tokens: Mapping[str, str], leased_until: float
) -> Mapping[str, bool]:
    """Extend the leases of jobs (id -> lock token). Return by lock token whether each is to be cancelled;
    those that are missing are lost."""
    held = and_(
        JobRow.id.in_(list(lock_tokens)),
        JobRow.lock_token.in_(list(lock_tokens.values())),
        JobRow.status == _RUNNING,
    )
    kept = update(JobRow).where(held).values(leased_until=leased_until)
    rows = await session.execute(
        kept.returning(JobRow.lock_token, JobRow.cancel_requested).execution_options(
            synchronize_session=False
        )
    )
    return {token: cancel for token, cancel in rows}  # noqa: C416 (rows are tuples for the type checker too)


def _next(at: float, full: Sequence[Full]) -> Select[str]:
    job, turns = aliased(JobRow), _turns(at)
    order = (
        job.cancel_requested.desc(),
        func.coalesce(turns.c.served_at, 0.0),
        job.priority.desc(),
        job.run_at,
        job.id,
    )
    query = (
        select(job.id)
        .join(turns, turns.c.project_id == job.project_id)
        .where(_due(job, at), or_(job.cancel_requested, _room(job, full)))
        .order_by(*order)
        .limit(1)
    )
    return query.with_for_update(skip_locked=True, of=job)


def _turns(at: float) -> Subquery:
    """Select when each project with due jobs was last served: found by the index, however many jobs it has
    had."""
    due, earlier = aliased(JobRow), aliased(JobRow)
    waiting = select(due.project_id).where(_due(due, at)).distinct().subquery()
    served_at = select(func.max(earlier.started_at)).where(earlier.project_id == waiting.c.project_id)
    return select(waiting.c.project_id, served_at.scalar_subquery().label("served_at")).subquery()


def _room(job: Any, full: Sequence[Full]) -> ColumnElement[bool]:
    """Select jobs whose kind may still run in their project."""
    kinds = [kind for kind, project_id in full if project_id is None]
    pairs = [(kind, project_id) for kind, project_id in full if project_id is not None]
    in_projects = [and_(job.kind == kind, job.project_id == project_id) for kind, project_id in pairs]
    return not_(or_(job.kind.in_(kinds), *in_projects))


async def _full(session: AsyncSession, limited: Mapping[str, Kind[Any]], at: float) -> Sequence[Full]:
    """Return the kinds of which no more may run. Jobs whose lease ran out do not run: they are in the queue
    again."""
    if not limited:
        return []
    running = (
        select(JobRow.kind, JobRow.project_id, func.count())
        .where(JobRow.kind.in_(list(limited)), JobRow.status == _RUNNING, JobRow.leased_until > at)
        .group_by(JobRow.kind, JobRow.project_id)
    )
    totals: Counter[str] = Counter()
    full: list[Full] = []
    for kind, project_id, count in await session.execute(running):
        totals[kind] += count
        if 0 < limited[kind].project_limit <= count:
            full.append((kind, project_id))
    return [*full, *((kind, None) for kind, count in totals.items() if 0 < limited[kind].limit <= count)]
