"""What the sweep forgets, and what it leaves."""

import pytest
from sqlalchemy import select
from tests.support.jobs import PROJECT, put, row

from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.jobs.args import Args
from tutti.jobs.queue import enqueue
from tutti.jobs.sweep import KEPT_S, sweep
from tutti.jobs.worker import Pace, Worker
from tutti.store.blobs import Blobs
from tutti.store.db import Database
from tutti.store.records import JobChunk, JobEvent, JobRow, RateWindow


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return Blobs.open(settings)


async def leave(database: Database, blobs: Blobs, id: str, status: str, age_s: float) -> None:
    """A job that has left an event and a chunk."""
    await put(database, id=id, run_at=now() + 1000)
    key = f"{PROJECT}/jobs/{id}/lock-0-output"
    await blobs.put(key, b"x")
    async with database.begin() as session:
        job = await session.get(JobRow, id)
        assert job is not None
        job.status, job.finished_at = status, now() - age_s
        session.add(JobEvent(job_id=id, at=now(), data={}))
        session.add(JobChunk(job_id=id, seq=0, items=[[0, 0]], parts={"output": {"key": key}}, counts={}))


async def ids_in(database: Database, column: object) -> set[str]:
    async with database.read() as session:
        return set(await session.scalars(select(column)))  # type: ignore[call-overload]


async def test_the_sweep_forgets_what_ended_long_ago(database: Database, blobs: Blobs) -> None:
    await leave(database, blobs, "old", "completed", KEPT_S + 60)
    await leave(database, blobs, "recent", "failed", KEPT_S - 60)
    await leave(database, blobs, "waiting", "queued", KEPT_S + 60)
    minute = int(now() // 60)
    async with database.begin() as session:
        session.add_all(RateWindow(key_id="k", minute=it) for it in (minute - 90, minute))
        swept = await enqueue(session, "sweep", Args(), project_id="")
    await Worker(database, [sweep(database, blobs)], Pace(lease_s=1)).run(idle_s=0.2)
    assert (await row(database, swept)).status == "completed"
    assert await ids_in(database, JobRow.id) == {"recent", "waiting", swept}
    assert await ids_in(database, JobEvent.job_id) == {"recent", "waiting"}
    assert await ids_in(database, JobChunk.job_id) == {"waiting"}
    assert await blobs.list(f"{PROJECT}/jobs/") == [f"{PROJECT}/jobs/waiting/lock-0-output"]
    assert await ids_in(database, RateWindow.minute) == {minute}
