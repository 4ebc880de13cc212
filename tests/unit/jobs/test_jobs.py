"""What a job's life must be, on SQLite and PostgreSQL: workers in this process."""

import asyncio
import time

import pytest
from tests.support.jobs import (
    PROJECT,
    Work,
    events,
    finished,
    kinds,
    most_at_once,
    put,
    row,
    take_back,
    until,
    working,
)
from tests.support.patience import limit
from tests.unit.jobs.conftest import hurry

from tutti.base.clock import now
from tutti.jobs.claim import any_due
from tutti.jobs.errors import LeaseLost
from tutti.jobs.job import Job
from tutti.jobs.queue import enqueue
from tutti.jobs.worker import Pace, Worker
from tutti.store.db import Database
from tutti.store.records import JobRow

LONG = Pace(lease_s=15, backoff_s=0.05)
"""Where a job that another worker takes over, since the machine is slow, would be an error."""


async def test_a_job_runs_and_ends_in_one_transaction(database: Database) -> None:
    id = await put(database, steps=3)
    async with working(database, LONG):
        assert await finished(database, id) == ["completed"]
    told = [it["what"] for it in await events(database, id)]
    assert told == ["start", "step", "step", "step", "end", "settled", "ended"]
    ended = await row(database, id)
    assert (ended.attempt, ended.error, ended.lock_token) == (1, "", "")
    assert ended.finished_at is not None


async def test_accepting_a_job_joins_the_callers_transaction(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.begin() as session:
            await enqueue(session, "work", Work(), project_id=PROJECT)
            raise KeyError
    assert not await any_due(database)


async def test_many_workers_run_each_job_once(database: Database) -> None:
    ids = [await put(database, steps=2, step_s=0.01) for _ in range(16)]
    async with working(database, LONG, count=4):
        assert await finished(database, *ids, within_s=60) == ["completed"] * 16
    for id in ids:
        assert len(await events(database, id, "start")) == 1


async def test_higher_priorities_go_first_then_what_is_due_longest(database: Database) -> None:
    at = now()
    order = [("c", 0, at - 10), ("b", 5, at - 10), ("a", 5, at - 20), ("d", -1, at - 90)]
    for id, priority, run_at in order:
        await put(database, id=id, priority=priority, run_at=run_at)
    async with working(database, Pace(slots=1)):
        await finished(database, *"abcd")
    starts = {id: (await row(database, id)).started_at for id in "abcd"}
    assert sorted(starts, key=lambda id: starts[id] or 0) == ["a", "b", "c", "d"]


async def test_projects_take_turns(database: Database) -> None:
    many = [await put(database, priority=9, run_at=now() - 60) for _ in range(10)]
    other = await put(database, project_id="proj-other")
    async with working(database, Pace(slots=1)):
        await finished(database, *many, other, within_s=60)
    earlier = [
        id for id in many if (await row(database, id)).started_at < (await row(database, other)).started_at
    ]  # type: ignore
    assert len(earlier) <= 1


async def test_a_job_waits_for_its_time(database: Database) -> None:
    await put(database, run_at=now() + 1000)
    assert not await any_due(database)
    at = now() + 0.6
    id = await put(database, run_at=at)
    async with working(database):
        await finished(database, id)
    assert (await row(database, id)).started_at >= at  # type: ignore


@pytest.mark.parametrize(
    ("kind_name", "projects", "most"), [("two", "aaaa", 2), ("one_each", "abab", 2), ("one_each", "aaaa", 1)]
)
async def test_limits_hold_and_are_used_under_four_workers(
    database: Database, kind_name: str, projects: str, most: int
) -> None:
    ids = [await put(database, kind_name, project, step_s=0.03) for project in projects * 3]
    other = await Database.open(database.url)
    async with working(database, LONG, count=2), working(other, LONG, count=2):
        assert await finished(database, *ids, within_s=60) == ["completed"] * len(ids)
    await other.close()
    assert await most_at_once(database, ids) == most


async def test_a_transient_error_is_tried_again_from_what_was_saved(database: Database) -> None:
    id = await put(database, steps=2, raises="transient", works_at=3)
    async with working(database, LONG):
        assert await finished(database, id) == ["completed"]
    assert [it["attempt"] for it in await events(database, id, "start")] == [1, 2, 3]
    assert len(await events(database, id, "step")) == 2


async def test_attempts_are_used_up(database: Database) -> None:
    id = await put(database, raises="transient")
    async with working(database, LONG):
        assert await finished(database, id) == ["failed"]
    assert (await row(database, id)).error == "Gave up after 3 attempts: The engine is away."


@pytest.mark.parametrize(
    ("raises", "error"),
    [
        ("failed", "The steps are wrong."),
        ("mistake", "The server made a mistake; its log says more."),
        ("in ended", "The server made a mistake; its log says more."),
    ],
)
async def test_other_errors_are_final(database: Database, raises: str, error: str) -> None:
    id = await put(database, raises=raises)
    async with working(database, LONG):
        assert await finished(database, id) == ["failed"]
    assert (await row(database, id)).error == error
    assert (await events(database, id, "ended"))[0]["error"] == error
    assert (await row(database, id)).attempt == 1


async def test_a_queued_job_is_cancelled_whatever_the_limits(database: Database) -> None:
    running = [await put(database, "two", step_s=60) for _ in range(2)]
    waiting, later = await put(database, "two"), await put(database, run_at=now() + 1000)
    async with working(database, LONG):
        for id in running:
            await until(database, id, "start")
        await take_back(database, waiting, "proj-other")
        assert not (await row(database, waiting)).cancel_requested
        await take_back(database, waiting)
        await take_back(database, later)
        assert await finished(database, waiting, later) == ["cancelled"] * 2
        assert not await events(database, waiting, "start")
        for id in running:
            await take_back(database, id)
        assert await finished(database, *running) == ["cancelled"] * 2
    for id in (waiting, *running):
        assert (await events(database, id, "settled"))[0]["status"] == "cancelled"


async def test_cancelling_what_has_ended_changes_nothing(database: Database) -> None:
    id = await put(database)
    async with working(database):
        await finished(database, id)
        await take_back(database, id)
        assert not (await row(database, id)).cancel_requested


async def test_a_cancelled_job_that_waits_for_another_attempt_ends(database: Database) -> None:
    id = await put(database, raises="transient")
    async with working(database, Pace(backoff_s=100)):
        async with asyncio.timeout(limit(60)):
            while (await row(database, id)).attempt != 1 or (await row(database, id)).status != "queued":
                await asyncio.sleep(0.02)
        await take_back(database, id)
        assert await finished(database, id) == ["cancelled"]


async def test_a_stopping_worker_hands_its_jobs_back(database: Database) -> None:
    id = await put(database, steps=30, step_s=0.5)
    async with working(database, LONG):
        await until(database, id, "step")
        began = time.monotonic()
    assert time.monotonic() - began < 10
    back = await row(database, id)
    assert (back.status, back.attempt) == ("queued", 0)
    await hurry(database, id)
    async with working(database, LONG):
        assert await finished(database, id) == ["completed"]
    assert [it["step"] for it in await events(database, id, "step")] == list(range(30))
    assert (await row(database, id)).attempt == 1


async def test_what_this_version_cannot_run_fails(database: Database) -> None:
    unknown = await put(database, "unknown")
    newer = await put(database, version=2)
    wrong = await put(database, steps="x")
    async with working(database):
        assert await finished_quietly(database, unknown) == "failed"
        assert await finished_quietly(database, newer) == "failed"
        assert await finished_quietly(database, wrong) == "failed"
    assert "does not know" in (await row(database, unknown)).error
    assert "another version" in (await row(database, newer)).error
    assert "another version" in (await row(database, wrong)).error


async def finished_quietly(database: Database, id: str) -> str:
    """Of jobs whose `ended` is not called or cannot tell."""
    async with asyncio.timeout(limit(60)):
        while (status := (await row(database, id)).status) in ("queued", "running"):
            await asyncio.sleep(0.02)
    return status


async def test_a_lost_lease_refuses_every_write(database: Database) -> None:
    id = await put(database, steps=400, step_s=0.02)
    async with working(database, Pace(lease_s=30)):
        await until(database, id, "step")
        stale: Job[Work] = Job(database, await row(database, id), Work())
        async with database.begin() as session:
            taken = await session.merge(await row(database, id))
            taken.lock_token = "another"
        for write in (stale.save(steps=99), stale.tell(what="ghost")):
            with pytest.raises(LeaseLost):
                await write
        # The worker, too, notices: at its next write, and leaves the row alone.
        await asyncio.sleep(0.2)
        told = await events(database, id)
        await asyncio.sleep(0.2)
        assert await events(database, id) == told
    left = await row(database, id)
    assert (left.status, left.lock_token, left.attempt) == ("running", "another", 1)


async def test_a_worker_without_work_leaves(database: Database) -> None:
    id = await put(database, step_s=0.5)
    async with asyncio.timeout(limit(60)):
        await Worker(database, kinds(), Pace(lease_s=1)).run(idle_s=0.3)
    assert (await row(database, id)).status == "completed"


async def test_scheduled_maintenance_comes_again(database: Database) -> None:
    await put(database, id="every-work", project_id="", run_at=now() - 5)
    async with working(database, LONG, schedule={"work": 0.2}):
        await until(database, "every-work", "ended", 3)
        # The next run may have begun, and is as fresh as this once it ends.
        async with asyncio.timeout(limit(60)):
            while not is_fresh(await row(database, "every-work")):
                await asyncio.sleep(0.02)


def is_fresh(job: JobRow) -> bool:
    return (job.status, job.attempt, job.state) == ("queued", 0, {})
