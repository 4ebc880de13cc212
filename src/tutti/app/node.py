"""The main work of the controller, once the API workers are on their way: the database, and the fleet."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from tutti.access.keys import has_keys
from tutti.app.banner import announce
from tutti.app.reservation import CannotStart
from tutti.app.workers import worker_env
from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.catalog.entries import BrokenCatalogue
from tutti.catalog.sources.base import PullFailed
from tutti.compute.local import Local
from tutti.node.fleet import Fleet, node_id
from tutti.node.jobworkers import JobWorkers
from tutti.node.sandboxhosts import SandboxHosts
from tutti.parts.engines import ENGINES
from tutti.parts.schedule import SCHEDULE
from tutti.parts.workloads import WORKLOADS
from tutti.process import logs
from tutti.process.supervisor import Supervisor
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate

log = logging.getLogger(__name__)


async def require_key(settings: Settings) -> None:
    """Raise CannotStart if there is no API key: whoever can reach this machine could use the server."""
    async with _database(settings) as database:
        if not await has_keys(database):
            raise CannotStart(
                f"{settings.host} can be reached from other machines, and there is no API key yet. "
                "Create one with `tutti keys create`, or listen on 127.0.0.1."
            )


async def run(settings: Settings, workers: Supervisor, asked: asyncio.Event, insisted: asyncio.Event) -> int:
    """Serve until `asked` to stop, then drain, and return the exit status. Raises CannotStart."""
    logs.configure(settings.log_level)
    async with _database(settings) as database:
        catalog = Catalog(settings, database)
        catalog.check(ENGINES)
        fleet = await Fleet.open(settings, database, catalog, ENGINES, WORKLOADS, Local())
        jobs = _job_workers(settings, database)
        sandboxes = _sandbox_hosts(settings, database)
        try:
            names = await _preload(settings, catalog, fleet)
            await _warn_of_aliases(settings, catalog)
            open_to_all = not await has_keys(database)
            announcing = asyncio.create_task(announce(settings, fleet, names, open_to_all=open_to_all))
            await asked.wait()
            announcing.cancel()
            await asyncio.wait([announcing])
            return await _drain(workers, jobs, fleet, insisted)
        finally:
            jobs.kill()
            await asyncio.gather(jobs.stop(), sandboxes.stop(), fleet.stop())


def _job_workers(settings: Settings, database: Database) -> JobWorkers:
    return JobWorkers(
        (sys.executable, "-m", "tutti.app.jobworker"),
        worker_env(settings),
        count=settings.job_workers,
        database=database,
        schedule=SCHEDULE,
    )


def _sandbox_hosts(settings: Settings, database: Database) -> SandboxHosts:
    id = node_id(settings)
    return SandboxHosts(
        (sys.executable, "-m", "tutti.app.sandboxhost", id),
        worker_env(settings),
        node_id=id,
        database=database,
        hang_timeout_s=settings.hang_timeout_s,
    )


async def _preload(settings: Settings, catalog: Catalog, fleet: Fleet) -> list[str]:
    """Preload the models of the settings, and return their names in the catalogue."""
    names: list[str] = []
    for name in settings.models:
        model = await catalog.find(name)
        if model is None:
            model = await _describe(name, settings)
            await catalog.add(model)
        await fleet.preload(model)
        names.append(model.name)
    return names


async def _describe(name: str, settings: Settings) -> Model:
    """Describe a model that is in no catalogue. Its HTTP client would be a tenth of the memory here."""
    from tutti.catalog.describe import describe  # noqa: PLC0415 - only for uncatalogued models

    return await describe(name, settings, ENGINES)


async def _warn_of_aliases(settings: Settings, catalog: Catalog) -> None:
    """Warn of aliases whose model is not there. A project's own model may be meant, or one that is added
    later."""
    for alias, target in settings.aliases.items():
        if await catalog.named(target) is None:
            log.warning(
                "an alias stands for a model that is not there", extra={"alias": alias, "model": target}
            )


async def _drain(workers: Supervisor, jobs: JobWorkers, fleet: Fleet, insisted: asyncio.Event) -> int:
    log.info("draining: running requests finish, new ones are refused, jobs go back into the queue")
    await fleet.drain()
    leaving = asyncio.gather(workers.stop(), jobs.stop())
    cut_short = asyncio.create_task(insisted.wait())
    await asyncio.wait([leaving, cut_short], return_when=asyncio.FIRST_COMPLETED)
    cut_short.cancel()
    if leaving.done():
        return 0
    workers.kill()
    jobs.kill()
    await leaving
    return 1


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    """Open the database, brought up to date. Errors that are to be expected become CannotStart."""
    async with AsyncExitStack() as opened:
        try:
            database = await Database.open(database_url(settings))
            opened.push_async_callback(database.close)
            await migrate(database)
            yield database
        except (TuttiError, BrokenCatalogue, PullFailed) as error:
            raise CannotStart(str(error)) from error
