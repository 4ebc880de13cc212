"""Jobs while processes die, hang and lose their database. Workers are processes of their own."""

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import psutil
import pytest
from sqlalchemy import delete
from tests.support.jobs import events, finished, put, row, until, worker_processes, working
from tests.support.postgres import OwnServer
from tests.unit.jobs.conftest import hurry

from tutti.jobs.worker import Pace
from tutti.store.db import Database
from tutti.store.migrate import migrate
from tutti.store.records import JobEvent

LEASE_S = 1.5


async def pid_of(database: Database, id: str, start: int = 0) -> int:
    await until(database, id, "start", start + 1)
    return (await events(database, id, "start"))[start]["pid"]


async def stop(database: Database, pid: int) -> None:
    """Between its transactions: SQLite has one lock for all who write, and who is stopped keeps it."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5), database.begin() as session:
                await session.execute(delete(JobEvent).where(JobEvent.job_id == ""))
            return
        os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.01)


async def test_a_killed_workers_job_runs_elsewhere_within_one_lease(database: Database) -> None:
    """Within it by the best of several kills: the machine may stall for longer than a lease."""
    with worker_processes(database, 2, LEASE_S) as processes:
        for _ in range(5):
            if await taken_over_after_s(database) <= LEASE_S + 0.2:
                return
            processes.start()
    raise AssertionError("it never was within one lease")


async def taken_over_after_s(database: Database) -> float:
    """From the kill of a worker until another has its job, which then is done once."""
    id = await put(database, steps=20, step_s=0.5)
    await until(database, id, "step", 2)
    starts = await events(database, id, "start")
    first = starts[-1]["pid"]
    os.kill(first, signal.SIGKILL)
    killed_at = time.time()
    await hurry(database, id)
    second = await pid_of(database, id, len(starts))
    started_at = (await row(database, id)).started_at
    assert await finished(database, id) == ["completed"]
    assert second != first
    assert [it["step"] for it in await events(database, id, "step")] == list(range(20))
    assert started_at is not None
    return started_at - killed_at


async def test_workers_may_die_anywhere(database: Database) -> None:
    places = ("run", "settle", "ended")
    ids = [await put(database, dies_at=place) for place in places]
    with worker_processes(database, 1, 1.0) as processes:
        keeping = asyncio.create_task(processes.keep())
        assert await finished(database, *ids, within_s=40) == ["completed"] * 3
        hopeless = await put(database, dies_at="run", dies=100)
        assert await finished(database, hopeless, within_s=40) == ["failed"]
        keeping.cancel()
    ended = await row(database, hopeless)
    assert ended.error == "Gave up after 3 attempts: each time its worker died."
    for id in ids:
        assert len(await events(database, id, "settled")) <= 2


async def test_a_worker_that_hung_cannot_write_when_it_wakes(database: Database) -> None:
    id = await put(database, steps=20, step_s=0.5)
    with worker_processes(database, 2, LEASE_S):
        await until(database, id, "step", 2)
        await hurry(database, id, 0.05)
        stale = await pid_of(database, id)
        await stop(database, stale)
        await until(database, id, "start", 2)
        taken = len(await events(database, id))
        os.kill(stale, signal.SIGCONT)
        assert await finished(database, id) == ["completed"]
        after = (await events(database, id))[taken:]
    # Where the machine stalls, so that the other's lease runs out too, it may take the job like any worker.
    until_it_begins_anew = takewhile(lambda it: it["what"] != "start", after)
    assert [it for it in until_it_begins_anew if it.get("pid") == stale] == []
    assert [it["step"] for it in await events(database, id, "step")] == list(range(20))


async def test_every_job_ends_once_however_workers_are_killed(database: Database) -> None:
    chance = random.Random(7)
    ids = [await put(database, steps=4, step_s=0.02) for _ in range(24)]
    with worker_processes(database, 3, 1.0) as processes:
        await until(database, ids[0], "start")
        for _ in range(5):
            await asyncio.sleep(0.25)
            processes.kill(chance.choice(processes.running))
            processes.replace_the_dead()
        statuses = await finished(database, *ids, within_s=40)
    assert set(statuses) <= {"completed", "failed"}
    for id, status in zip(ids, statuses, strict=True):
        steps = [it["step"] for it in await events(database, id, "step")]
        assert steps == list(range(4 if status == "completed" else len(steps)))


async def test_workers_outlive_a_database_that_goes_away() -> None:
    server = await asyncio.to_thread(OwnServer)
    database = await Database.open(server.url)
    await migrate(database)
    ids = [await put(database, steps=30, step_s=0.05) for _ in range(3)]
    async with working(database, Pace(lease_s=2.0, backoff_s=0.2)):
        await until(database, ids[0], "step", 3)
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)
        await asyncio.sleep(0.5)
        later = await put(database)
        assert await finished(database, *ids, later, within_s=60) == ["completed"] * 4
    await database.close()


@pytest.mark.long
async def test_memory_stays_flat(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/tutti.db")
    await migrate(database)
    with worker_processes(database, 1) as processes:
        await finished(database, *[await put(database, steps=3) for _ in range(40)], within_s=60)
        process = psutil.Process(processes.running[0])
        before, end = process.memory_info().rss, time.monotonic() + 3
        count = 0
        while time.monotonic() < end:
            ids = [await put(database, steps=3, raises="transient", works_at=2) for _ in range(20)]
            await finished(database, *ids, within_s=60)
            count += 20
        grown = process.memory_info().rss - before
    await database.close()
    assert count >= 20
    assert grown < 4_000_000
