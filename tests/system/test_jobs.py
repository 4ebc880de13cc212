"""Job workers of a real `tutti serve`: there while there is work, and gone with their server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
from tests.support.fleet import until
from tests.support.patience import limit
from tests.support.processes import gone, running
from tests.support.server import Server, running_server, started

from tutti.base.clock import now
from tutti.jobs.args import Args
from tutti.jobs.queue import enqueue
from tutti.store.db import Database
from tutti.store.records import JobRow


@asynccontextmanager
async def database_of(server: Server) -> AsyncIterator[Database]:
    database = await Database.open(f"sqlite:///{server.data_dir}/tutti.db")
    yield database
    await database.close()


async def sweep_now(database: Database) -> str:
    async with database.begin() as session:
        return await enqueue(session, "sweep", Args(), project_id="")


async def is_scheduled(database: Database) -> bool:
    async with database.read() as session:
        scheduled = await session.get(JobRow, "every-sweep")
    return scheduled is not None and scheduled.run_at > now() + 3000


async def ended(database: Database, id: str) -> JobRow:
    async with asyncio.timeout(limit(60)):
        while True:
            async with database.read() as session:
                row = await session.get(JobRow, id)
            if row is not None and row.finished_at is not None:
                return row
            await asyncio.sleep(0.05)


async def test_a_job_worker_is_there_only_for_work_and_no_end_of_the_server_loses_any() -> None:
    with running_server([], job_lease_s=2) as server:
        async with database_of(server) as database:
            await until(lambda: is_scheduled(database))
            await asyncio.sleep(1.2)
            assert server.job_workers() == []

            assert (await ended(database, await sweep_now(database))).status == "completed"
            (first,) = server.job_workers()

            os.kill(first, signal.SIGKILL)
            await gone([first])
            assert (await ended(database, await sweep_now(database))).status == "completed"
            (second,) = server.job_workers()
            assert second != first

            everything = [it.pid for it in server.tree()]
            os.kill(server.pid, signal.SIGKILL)
            await gone(everything)
            assert not running(second)

            accepted = await sweep_now(database)
            with started(server.data_dir, []) as process:
                assert (await ended(database, accepted)).status == "completed"
                again = [it.pid for it in psutil.Process(process.pid).children(recursive=True)]
                process.terminate()
                assert process.wait(limit(60)) == 0
                await gone(again)
