"""A fleet and a dispatch over real echo engines, with no HTTP in front."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
from tests.support.patience import limit
from tests.support.template import put_database

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.compute.local import Local
from tutti.dispatch.dispatch import Dispatch, Lease
from tutti.engines.echo import Echo
from tutti.meeting.router import ReplicaView
from tutti.node.fleet import Fleet, Workloads
from tutti.parts.workloads import WORKLOADS
from tutti.process.supervisor import Pace
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate

QUICK = Pace(first_s=0.05, longest_s=0.2, healthy_s=60)


@dataclass(frozen=True)
class Stack:
    settings: Settings
    database: Database
    catalog: Catalog
    fleet: Fleet
    dispatch: Dispatch

    async def replica(self, model: Model) -> ReplicaView | None:
        return next((it for it in await self.dispatch.replicas() if it.name == model.name), None)

    def pids(self, model: Model) -> set[int]:
        """Return the process ids of the engine programs that run for the model."""
        return engine_pids(psutil.Process(), model.name)


def engine_pids(ancestor: psutil.Process, model: str) -> set[int]:
    return {it.pid for it in ancestor.children(recursive=True) if _is_engine(it, model)}


def _is_engine(process: psutil.Process, model: str) -> bool:
    try:
        argv = process.cmdline()
    except psutil.Error:
        return False
    return argv[1:3] == ["-m", "tutti.workers.echo"] and argv[argv.index("--model") + 1] == model


def echo(name: str = "echo", **fields: Any) -> Model:
    return Model(**{"name": name, "type": "chat", "engine": "echo", **fields})


@asynccontextmanager
async def stack(
    folder: Path, *models: Model, workloads: Workloads = WORKLOADS, **settings: Any
) -> AsyncIterator[Stack]:
    chosen = Settings(**{"data_dir": folder, "models": [], "max_queue": 8, **settings})
    folder.mkdir(parents=True, exist_ok=True)
    if not chosen.database_url:
        put_database(folder)
    async with AsyncExitStack() as parts:
        database = await Database.open(database_url(chosen))
        parts.push_async_callback(database.close)
        await migrate(database)
        catalog = Catalog(chosen, database)
        for model in models:
            await catalog.add(model)
        engines = {"echo": Echo()}
        fleet = await Fleet.open(chosen, database, catalog, engines, workloads, Local(), QUICK)
        parts.push_async_callback(fleet.stop)
        dispatch = Dispatch(chosen, database, catalog, engines)
        await dispatch.start()
        parts.push_async_callback(dispatch.close)
        yield Stack(chosen, database, catalog, fleet, dispatch)


async def ask(lease: Lease, text: str = "hello") -> str:
    body = msgspec.json.encode({"model": "any", "messages": [{"role": "user", "content": text}]})
    answer = msgspec.json.decode(await lease.upstream.post("/v1/chat/completions", body))
    return answer["choices"][0]["message"]["content"]


async def say(stack: Stack, model: Model, text: str = "hello") -> str:
    async with stack.dispatch.lease(model) as lease:
        return await ask(lease, text)


async def until(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    """Until it is true; it may be a coroutine function."""
    give_up_at = time.monotonic() + limit(within_s)
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < give_up_at, "it never came true"
        await asyncio.sleep(0.02)
