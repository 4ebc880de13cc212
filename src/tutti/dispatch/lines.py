"""The lines of requests in this process, one a model: they are offered replicas while anybody waits."""

import asyncio
import logging
import math
import sys
from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.base.errors import LoadFailed, Unavailable
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.dispatch.line import Line, Waiter
from tutti.meeting.router import MAX_AGE_S, ReplicaView, Table, of_model
from tutti.meeting.wants import RETRY_FAILED_S, Key, Wanted, key_of, want
from tutti.process import metrics
from tutti.store.db import Database
from tutti.store.records import Replica

_PUMP_S = 0.1
_TOUCH_S = 1.0
_LOAD_RETRY_S = 5.0
log = logging.getLogger(__name__)


class Lines:
    """`start` and `close` run in the loop that serves the requests. With `background` any number may wait."""

    def __init__(self, settings: Settings, database: Database, table: Table, *, background: bool) -> None:
        self._load_wait_s = settings.load_wait_s
        self._database = database
        self._table = table
        self._bounds = (sys.maxsize, sys.maxsize) if background else _bounds(settings)
        self._lines: dict[Key, Line] = {}
        self._pumps: dict[Key, asyncio.Task[None]] = {}
        self._used: set[str] = set()

    def start(self) -> None:
        self._touching = asyncio.create_task(self._keep_touching())

    async def close(self) -> None:
        tasks = [self._touching, *self._pumps.values()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def admit(self, model: Model, project_id: str, *, since: float | None = None) -> Waiter:
        """Wait in the model's line, and return the waiter with a slot granted. `since` is for a request that
        had a slot before, as in `Line.enter`. Raises what `Line.enter` raises, and Unavailable where no
        replica can be had in time."""
        line = self.line(model)
        line.offer(await self.ready(model, MAX_AGE_S))
        waiter = line.enter(project_id, since=since)
        if not waiter.granted.done():
            self._pump(model)
            with metrics.waiting(model.name).track_inprogress():
                await _granted(line, waiter)
        self._used.add(waiter.granted.result().id)
        return waiter

    async def ready(self, model: Model, max_age_s: float) -> list[ReplicaView]:
        """Return the model's ready replicas, as they were at most `max_age_s` ago."""
        replicas = of_model(await self._table.read(max_age_s), model)
        return [replica for replica in replicas if replica.state == "ready"]

    def line(self, model: Model) -> Line:
        key = key_of(model)
        if key not in self._lines:
            self._lines[key] = Line(model.name, *self._bounds)
        return self._lines[key]

    def _pump(self, model: Model) -> None:
        running = self._pumps.get(key_of(model))
        if running is None or running.done():
            self._pumps[key_of(model)] = asyncio.create_task(self._keep_offering(model))

    async def _keep_offering(self, model: Model) -> None:
        """Offer the line ready replicas as long as anybody waits, and want one where there is none."""
        line = self.line(model)
        while line.waiting:
            try:
                await self._offer(line, model)
            except (SQLAlchemyError, OSError) as error:
                log.warning("the replicas cannot be read", extra={"cause": str(error)})
                outage = Unavailable("The database does not answer.", retry_after_s=1)
                line.fail(outage, self._load_wait_s)
            await asyncio.sleep(_PUMP_S)

    async def _offer(self, line: Line, model: Model) -> None:
        replicas = of_model(await self._table.read(MAX_AGE_S if line.is_served else _PUMP_S), model)
        ready = [replica for replica in replicas if replica.state == "ready"]
        line.offer(ready)
        if ready or not line.waiting:
            return
        failed = next((replica for replica in replicas if replica.state == "failed"), None)
        if failed is not None and (left_s := failed.changed_at + RETRY_FAILED_S - now()) > 0:
            line.fail(LoadFailed(f"{model.name} cannot be loaded: {failed.detail}", retry_after_s=left_s))
            return
        if not any(replica.state in ("pulling", "starting") for replica in replicas):
            await want(self._database, Wanted(key_of(model)))
        line.fail(_loading(model, replicas), self._load_wait_s)

    async def _keep_touching(self) -> None:
        """Write each second which replicas are in use, so that the fleets evict others first."""
        while True:
            await asyncio.sleep(_TOUCH_S)
            used = self._used.union(*(line.replica_ids for line in self._lines.values()))
            self._used = set()
            if not used:
                continue
            try:
                async with self._database.begin() as session:
                    await session.execute(update(Replica).where(Replica.id.in_(used)).values(used_at=now()))
            except (SQLAlchemyError, OSError) as error:
                log.warning("the use of replicas cannot be written", extra={"cause": str(error)})


def _bounds(settings: Settings) -> tuple[int, int]:
    """Return how many may wait for a model in this API worker, and how many of them may be one project's."""
    of_project = settings.max_project_queue or settings.max_queue
    return math.ceil(settings.max_queue / settings.workers), math.ceil(of_project / settings.workers)


async def _granted(line: Line, waiter: Waiter) -> None:
    try:
        await waiter.granted
    except asyncio.CancelledError:
        line.leave(waiter)
        raise


def _loading(model: Model, replicas: Sequence[ReplicaView]) -> Unavailable:
    progress = next((replica.detail or replica.state for replica in replicas), "waiting for a node")
    return Unavailable(
        f"{model.name} is being loaded ({progress}); try again soon.",
        code="model_loading",
        retry_after_s=_LOAD_RETRY_S,
    )
