"""Kinds of jobs for tests, and workers that work them off."""

import asyncio
import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.support.patience import limit

from tutti.base.clock import now
from tutti.base.errors import Unavailable
from tutti.jobs.errors import Failed
from tutti.jobs.job import Job
from tutti.jobs.kind import Args, Ending, Kind
from tutti.jobs.queue import cancel, enqueue
from tutti.jobs.states import FINISHED
from tutti.jobs.worker import Pace, Worker
from tutti.store.db import Database
from tutti.store.records import JobEvent, JobRow

_REPOSITORY = Path(__file__).parents[2]
PROJECT = "proj-default"


class Work(Args, frozen=True, kw_only=True):
    """`raises`: failed | mistake | transient, until attempt number `works_at`. `dies_at`: where the worker is
    killed: run | settle | ended, in the first `dies` attempts."""

    steps: int = 1
    step_s: float = 0.0
    raises: str = ""
    works_at: int = 1_000
    dies_at: str = ""
    dies: int = 1


async def run(job: Job[Work]) -> None:
    """Run a job's steps. Each is done once: it is recorded and saved in one transaction."""
    await job.tell(what="start", attempt=job.attempt, pid=os.getpid())
    await job.save(pid=os.getpid())
    _maybe_die(job, "run")
    for step in range(job.state.get("steps", 0), job.args.steps):
        await asyncio.sleep(job.args.step_s)
        await _do_step(job, step)
    _maybe_raise(job)
    await job.tell(what="end")


async def _do_step(job: Job[Work], step: int) -> None:
    state = {**job.state, "steps": step + 1}
    data = {"what": "step", "step": step, "pid": os.getpid()}
    async with job.write() as session:
        await session.execute(update(JobRow).where(JobRow.id == job.id).values(state=state))
        session.add(JobEvent(job_id=job.id, at=now(), data=data))
    job.state = state


async def settle(job: Job[Work], ending: Ending) -> None:
    _maybe_die(job, "settle")
    await job.tell(what="settled", status=ending.status)


async def ended(session: AsyncSession, job: Job[Work], ending: Ending) -> None:
    data = {"what": "ended", "status": ending.status, "error": ending.error}
    session.add(JobEvent(job_id=job.id, at=now(), data=data))
    await session.flush()
    _maybe_die(job, "ended")
    if job.args.raises == "in ended" and ending.status == "completed":
        raise KeyError("a mistake")


def kinds(max_attempts: int = 3) -> list[Kind[Any]]:
    return [
        Kind("work", Work, run, ended, settle, max_attempts=max_attempts),
        Kind("two", Work, run, ended, settle, limit=2, max_attempts=max_attempts),
        Kind("one_each", Work, run, ended, settle, project_limit=1, max_attempts=max_attempts),
    ]


def _maybe_die(job: Job[Work], place: str) -> None:
    if job.args.dies_at == place and job.attempt <= job.args.dies:
        os.kill(os.getpid(), signal.SIGKILL)


def _maybe_raise(job: Job[Work]) -> None:
    if job.attempt >= job.args.works_at:
        return
    if job.args.raises == "failed":
        raise Failed("The steps are wrong.")
    if job.args.raises == "mistake":
        raise KeyError("something secret")
    if job.args.raises == "transient":
        raise Unavailable("The engine is away.")


# --- what tests do with them ------------------------------------------------------------------------------


async def put(database: Database, kind: str = "work", project_id: str = PROJECT, **work: Any) -> str:
    """Enqueue a job and return its id. `priority`, `run_at` and `id` are for the queue, all else are the
    job's arguments."""
    where = {name: work.pop(name) for name in ("priority", "run_at", "id") if name in work}
    async with database.begin() as session:
        return await enqueue(session, kind, Work(**work), project_id=project_id, **where)


async def take_back(database: Database, id: str, project_id: str = PROJECT) -> None:
    async with database.begin() as session:
        await cancel(session, id, project_id)


async def row(database: Database, id: str) -> JobRow:
    async with database.read() as session:
        found = await session.get(JobRow, id)
    assert found is not None
    return found


async def events(database: Database, id: str, what: str = "") -> Sequence[dict[str, Any]]:
    query = select(JobEvent.data).where(JobEvent.job_id == id).order_by(JobEvent.seq)
    async with database.read() as session:
        return [it for it in await session.scalars(query) if not what or it["what"] == what]


async def finished(database: Database, *ids: str, within_s: float = 60.0) -> list[str]:
    """Wait until all jobs have ended, each exactly once, and return their statuses."""
    async with asyncio.timeout(limit(within_s)):
        for id in ids:
            while (await row(database, id)).status not in FINISHED:
                await asyncio.sleep(0.05)
    for id in ids:
        assert len(await events(database, id, "ended")) == 1
    return [(await row(database, id)).status for id in ids]


async def until(database: Database, id: str, what: str, count: int = 1, within_s: float = 60.0) -> None:
    """Wait until the job has recorded `what` as often as `count`."""
    async with asyncio.timeout(limit(within_s)):
        while len(await events(database, id, what)) < count:
            await asyncio.sleep(0.05)


async def most_at_once(database: Database, ids: Sequence[str]) -> int:
    """Return how many of these jobs ran at the same time."""
    query = select(JobEvent).where(JobEvent.job_id.in_(ids))
    async with database.read() as session:
        recorded = (await session.scalars(query)).all()
    steps = [(it.at, {"start": 1, "end": -1}.get(it.data["what"], 0)) for it in recorded]
    running = most = 0
    for _, step in sorted(steps):
        running += step
        most = max(most, running)
    return most


@contextlib.asynccontextmanager
async def working(
    database: Database, pace: Pace | None = None, count: int = 1, **options: Any
) -> AsyncIterator[list[Worker]]:
    """So many workers in this process; stopped at the end, when all that they have goes back."""
    chosen = pace or Pace(lease_s=2.0, backoff_s=0.05)
    workers = [Worker(database, kinds(), chosen, **options) for _ in range(count)]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)


# --- workers as processes of their own --------------------------------------------------------------------


@dataclass
class Processes:
    """`running`: the pids of those that were started and not replaced."""

    url: str
    lease_s: float
    running: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.running.append(_forked(self.url, self.lease_s))

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def replace_the_dead(self) -> None:
        for pid in [it for it in self.running if not psutil.pid_exists(it)]:
            self.running.remove(pid)
            self.start()

    async def keep(self) -> None:
        """Replaces the dead until it is cancelled."""
        while True:
            self.replace_the_dead()
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def worker_processes(database: Database, count: int, lease_s: float = 2.0) -> Iterator[Processes]:
    processes = Processes(database.url, lease_s)
    try:
        for _ in range(count):
            processes.start()
        yield processes
    finally:
        for pid in processes.running:
            processes.kill(pid)
        while any(map(psutil.pid_exists, processes.running)):
            time.sleep(0.01)


def _forked(url: str, lease_s: float) -> int:
    """Fork a worker and return its pid. A new interpreter would take most of a second for its imports."""
    nursery = _nursery()
    assert nursery.stdin is not None and nursery.stdout is not None
    nursery.stdin.write(f"{url} {lease_s}\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


@cache
def _nursery() -> "subprocess.Popen[str]":
    """Start the process that forks workers, one for each test run. It ends with all its children when its
    stdin closes, at the latest with this process."""
    argv = [sys.executable, "-m", "tests.support.jobs"]
    pipe = subprocess.PIPE
    nursery = subprocess.Popen(
        argv, cwd=_REPOSITORY, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    )
    atexit.register(nursery.__exit__, None, None, None)
    return nursery


def _fork_workers() -> None:
    """Reads `URL LEASE_S`, and says the pid of a worker with these, again and again."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they are gone when they are dead
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            url, lease_s = line.split()
            asyncio.run(_work(url, float(lease_s)))
            os._exit(0)
        print(pid, flush=True)
    os.killpg(0, signal.SIGKILL)


async def _work(url: str, lease_s: float) -> None:
    database = await Database.open(url)
    worker = Worker(database, kinds(), Pace(lease_s=lease_s, backoff_s=0.05))
    await worker.run()


if __name__ == "__main__":
    _fork_workers()
