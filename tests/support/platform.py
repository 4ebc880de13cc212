"""The server's application on a real socket, over real parts, with replicas that the test starts itself, and
a job worker beside it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from tests.support.http import serve
from tests.support.template import put_database

from tutti.app.api import application
from tutti.app.platform import open_database, open_platform
from tutti.base.clock import now
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.fetch.fetch import Fetcher
from tutti.http import server
from tutti.jobs.worker import Pace, Worker
from tutti.parts.features import FEATURES
from tutti.parts.jobs import JOB_KINDS
from tutti.platform import Platform
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate
from tutti.store.records import Node, Replica

A_DAY_S = 86_400


@asynccontextmanager
async def api(
    folder: Path,
    added: Sequence[Model],
    addresses: Mapping[str, str] | None = None,
    slots: int = 4,
    **settings: Any,
) -> AsyncIterator[str]:
    """Serve the API and yield its base URL. `added` go into the catalogue; `addresses` are those of their
    replicas."""
    chosen = Settings(**{"data_dir": folder, "models": [], **settings})
    await _fill(chosen, added, addresses or {}, slots)
    async with application(chosen) as app, serve(app) as url:
        yield url


@asynccontextmanager
async def job_worker(folder: Path, fetcher: Fetcher | None = None) -> AsyncIterator[None]:
    """Beside an `api` with the same folder. Without a fetcher it has that of the server."""
    settings = Settings(data_dir=folder, models=[])
    async with (
        open_database(settings) as database,
        open_platform(settings, database, background=True) as platform,
        working(platform if fetcher is None else replace(platform, fetcher=fetcher), Pace()),
    ):
        yield


@asynccontextmanager
async def working(platform: Platform, pace: Pace) -> AsyncIterator[None]:
    """Run a job worker for every kind, and wait for its end afterwards."""
    inside = server.inside([router(platform) for router in FEATURES], platform.settings)
    worker = Worker(platform.database, [kind(platform, inside) for kind in JOB_KINDS], pace)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def _fill(
    settings: Settings, models: Sequence[Model], addresses: Mapping[str, str], slots: int
) -> None:
    if not settings.database_url:
        put_database(settings.data_dir)
    database = await Database.open(database_url(settings))
    await migrate(database)
    for model in models:
        await Catalog(settings, database).add(model)
    async with database.begin() as session:
        session.add(_node())
        session.add_all(
            _replica(model, addresses[model.name], slots) for model in models if model.name in addresses
        )
    await database.close()


def _node() -> Node:
    seen_at = now() + A_DAY_S
    return Node(id="node-1", address="127.0.0.1", state="ready", memory_budget_bytes=1 << 30, seen_at=seen_at)


def _replica(model: Model, address: str, slots: int) -> Replica:
    return Replica(
        id=f"replica-{model.name}",
        node_id="node-1",
        name=model.name,
        project_id=model.project_id or "",
        entry=msgspec.to_builtins(model),
        state="ready",
        address=address,
        slots=slots,
        changed_at=now(),
        used_at=now(),
    )
