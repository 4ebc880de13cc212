"""A whole server in this process: API, job worker and fleet with real engines. Unlike a real one it fetches
from the loopback address, where the tests have their S3."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from tests.support.http import asking, serve
from tests.support.patience import limit
from tests.support.platform import working
from tests.support.template import put_database
from tests.support.weights import lend

from tutti.access.limits import Limits
from tutti.app.platform import open_database, open_platform
from tutti.base.settings import Settings
from tutti.compute.local import Local
from tutti.fetch.fetch import Fetcher
from tutti.http import server
from tutti.jobs.worker import Pace
from tutti.node.fleet import Fleet
from tutti.parts.engines import ENGINES
from tutti.parts.features import FEATURES
from tutti.parts.workloads import WORKLOADS
from tutti.platform import Platform


@dataclass(frozen=True)
class Whole:
    platform: Platform
    client: httpx.AsyncClient

    async def upload(self, **fields: Any) -> dict[str, Any]:
        """Upload a model, wait for the job's end, and return its last state. The answer's `data` is in it."""
        answer = await self.client.post("/v1/models", json=fields)
        assert answer.status_code == 200, answer.text
        return {**await self.finished(answer.json()["data"]["job_id"]), "data": answer.json()["data"]}

    async def finished(self, job_id: str, within_s: float = 60.0) -> dict[str, Any]:
        async with asyncio.timeout(limit(within_s)):
            while True:
                job = (await self.client.get(f"/v1/jobs/{job_id}")).json()
                if job["status"] in ("Complete", "Failed"):
                    return job
                await asyncio.sleep(0.05)


@asynccontextmanager
async def whole(folder: Path, lent: Sequence[str] = (), **settings: Any) -> AsyncIterator[Whole]:
    chosen = Settings(**{"data_dir": folder, "models": [], "threads": 2, **settings})
    await asyncio.to_thread(lend, folder, *lent)
    await asyncio.to_thread(put_database, folder)
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(open_database(chosen))
        opened = await parts.enter_async_context(open_platform(chosen, database))
        platform = replace(opened, fetcher=Fetcher(lambda _: True))
        fleet = await Fleet.open(chosen, database, platform.catalog, ENGINES, WORKLOADS, Local())
        parts.push_async_callback(fleet.stop)
        limits = Limits(database)
        await limits.start()
        parts.push_async_callback(limits.close)
        routers = [router(platform) for router in FEATURES]
        app = server.build(routers, settings=chosen, database=database, limits=limits)
        await parts.enter_async_context(working(platform, Pace(backoff_s=0.2)))
        url = await parts.enter_async_context(serve(app))
        yield Whole(platform, await parts.enter_async_context(asking(url)))
