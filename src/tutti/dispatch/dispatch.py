"""From a model's name to a replica that serves it: every API worker has one Dispatch."""

import asyncio
import difflib
import logging
import math
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s, now
from tutti.base.errors import EngineEnded, InternalError, LoadFailed, NotFound, Unavailable
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.aliases import any_alias
from tutti.catalog.catalog import Catalog
from tutti.dispatch.background import Announcer, Listener, Traffic, meeting_place
from tutti.dispatch.line import Line, Waiter
from tutti.dispatch.suspects import Suspects, Watch
from tutti.dispatch.upstream import HttpUpstream
from tutti.dispatch.wire import Client
from tutti.engines.base import Engine, Upstream
from tutti.meeting.router import MAX_AGE_S, ReplicaView, Table, of_model
from tutti.meeting.wants import RETRY_FAILED_S, Key, key_of, want
from tutti.process import metrics
from tutti.store.db import Database
from tutti.store.records import Replica

_PUMP_S = 0.1
_TOUCH_S = 1.0
_LOAD_RETRY_S = 5.0
_MOST_MOVES = 2
log = logging.getLogger(__name__)


@dataclass
class Lease:
    """A slot on a replica, for one request. `replica_id` changes where the request has to move."""

    engine: Engine
    upstream: Upstream
    queued_s: float
    replica_id: str


class Dispatch:
    """`start` and `close` belong to the composition root; they run in the loop that serves the requests.
    With `background` the requests are those of jobs: they make way for clients', and any number may wait."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        catalog: Catalog,
        engines: Mapping[str, Engine],
        *,
        background: bool = False,
    ) -> None:
        self._settings = settings
        self._database = database
        self._catalog = catalog
        self._engines = engines
        self._table = Table(database)
        self._client = Client()
        self._bounds = (sys.maxsize, sys.maxsize) if background else _bounds(settings)
        self._suspects = Suspects()
        place = meeting_place(settings.data_dir)
        self._traffic: Traffic = Listener(place) if background else Announcer(place)
        self._lines: dict[Key, Line] = {}
        self._pumps: dict[Key, asyncio.Task[None]] = {}
        self._used: set[str] = set()

    async def start(self) -> None:
        await self._traffic.start()
        self._touching = asyncio.create_task(self._touch())

    async def close(self) -> None:
        tasks = [self._touching, *self._pumps.values()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._traffic.close()
        await self._table.close()
        self._client.close()

    async def replicas(self) -> Sequence[ReplicaView]:
        """All replicas on live nodes, in every state, at most `MAX_AGE_S` old."""
        return await self._table.read()

    async def slots(self, model: Model) -> int:
        """Return how many requests the model's ready replicas take at once; 0 while none is ready."""
        return sum(it.slots for it in await self.ready(model, MAX_AGE_S))

    async def resolve(self, name: str, project_id: str) -> Model:
        model = await self._catalog.find(name, project_id)
        if model is None:
            raise await self._unknown(name, project_id)
        return self.as_served(model)

    def as_served(self, model: Model) -> Model:
        """With the context that it has where it runs: an engine may give it less than it could have."""
        engine = self._engines.get(model.engine)
        context = model.context_length if engine is None else engine.context(model)
        if context == model.context_length:
            return model
        return msgspec.structs.replace(model, context_length=context)

    @asynccontextmanager
    async def lease(self, model: Model, project_id: str = "", *, live: bool = False) -> AsyncGenerator[Lease]:
        """For a request of the project. `live`: for a session, whose requests can't wait for others.
        Raises RateLimited where too many wait already, Unavailable where no replica can be had in time."""
        engine = self._engines.get(model.engine)
        if engine is None:
            raise InternalError(
                f"{model.name} needs the engine {model.engine}, which this server does not have."
            )
        headers = engine.headers(model)  # before a slot is taken: they may be missing
        began = monotonic_s()
        turn = await self._traffic.begin(engine, model)
        try:
            seat = _Seat(self, model, headers, await self.admit(model, project_id))
            upstream = turn.upstream(self._upstream(engine, seat, project_id, live=live))
            seat.lease = Lease(engine, upstream, monotonic_s() - began, seat.replica.id)
            metrics.observe_lease(model.name, seat.lease.queued_s)
            try:
                yield seat.lease
            except EngineEnded as error:
                raise EngineEnded(await self._why(seat.replica.id)) from error
            finally:
                seat.leave()
        finally:
            turn.end()

    # --- used by seats --------------------------------------------------------------------------------

    async def admit(self, model: Model, project_id: str, *, since: float | None = None) -> Waiter:
        """With a slot granted. `since`: of one that had a slot before, as for `Line.enter`."""
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
        table = await self._table.read(max_age_s)
        return [it for it in of_model(table, model) if it.state == "ready"]

    def line(self, model: Model) -> Line:
        key = key_of(model)
        if key not in self._lines:
            self._lines[key] = Line(model.name, *self._bounds)
        return self._lines[key]

    def _upstream(self, engine: Engine, seat: "_Seat", project_id: str, *, live: bool) -> HttpUpstream:
        """What others run is not watched: a connection that breaks says nothing about the request."""
        if not engine.progress_path:
            return HttpUpstream(self._client, seat)
        watch = Watch(None if live else self._suspects, project_id)
        return HttpUpstream(self._client, seat, watch, seat.leaving.append)

    async def _why(self, replica_id: str) -> str:
        """Why its engine was ended, where it was: that is told before."""
        try:
            table = await self._table.read(0.0)
        except (SQLAlchemyError, OSError):
            return ""
        return next((it.detail for it in table if it.id == replica_id), "")

    # --- while requests wait --------------------------------------------------------------------------

    def _pump(self, model: Model) -> None:
        running = self._pumps.get(key_of(model))
        if running is None or running.done():
            self._pumps[key_of(model)] = asyncio.create_task(self._keep_offering(model))

    async def _keep_offering(self, model: Model) -> None:
        """As long as anybody waits: looks for ready replicas, and asks for one where there is none."""
        line = self.line(model)
        while line.waiting:
            try:
                await self._offer(line, model)
            except (SQLAlchemyError, OSError) as error:
                log.warning("the replicas cannot be read", extra={"cause": str(error)})
                line.fail(_gone("The database does not answer."), self._settings.load_wait_s)
            await asyncio.sleep(_PUMP_S)

    async def _offer(self, line: Line, model: Model) -> None:
        replicas = of_model(await self._table.read(MAX_AGE_S if line.is_served else _PUMP_S), model)
        ready = [it for it in replicas if it.state == "ready"]
        line.offer(ready)
        if ready or not line.waiting:
            return
        failed = next((it for it in replicas if it.state == "failed"), None)
        if failed is not None and (left_s := failed.changed_at + RETRY_FAILED_S - now()) > 0:
            line.fail(LoadFailed(f"{model.name} cannot be loaded: {failed.detail}", retry_after_s=left_s))
            return
        if not any(it.state in ("pulling", "starting") for it in replicas):
            await want(self._database, key_of(model))
        line.fail(_loading(model, replicas), self._settings.load_wait_s)

    async def _touch(self) -> None:
        """Tells the fleets which replicas are in use, so that they evict others first."""
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

    async def _unknown(self, asked: str, project_id: str) -> NotFound:
        target = any_alias(self._settings.aliases, asked)
        name, alias = (asked, "") if target is None else (target, f", for which {asked} is an alias")
        names = [model.name for model in await self._catalog.models(project_id)]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else " GET /v1/models lists what there is."
        return NotFound(f"There is no model {name}{alias}.{hint}", param="model", code="model_not_found")


class _Seat:
    """The replica that a request holds a slot of."""

    def __init__(self, dispatch: Dispatch, model: Model, headers: Mapping[str, str], waiter: Waiter) -> None:
        self.replica = waiter.granted.result()
        self.lease: Lease | None = None
        self.headers = headers
        self.leaving: list[asyncio.Future[None]] = []
        """Requests that were given up: the engine may still work on them."""
        self._waiter = waiter
        self._running = metrics.running(model.name)
        self._running.inc()
        self._dispatch = dispatch
        self._model = model
        self._since = monotonic_s()
        self._held = True
        self._moves = 0

    @property
    def address(self) -> str:
        return self.replica.address

    @property
    def adapter(self) -> int:
        return self.replica.adapter

    async def move(self, *, sent: bool) -> None:
        """Where the request was sent, it may be what broke the replica: it gets one other try, at once.
        Otherwise it waits for another replica, or for this one to come back."""
        self._moves += 1
        line = self._dispatch.line(self._model)
        line.suspect(self.replica)
        line.offer(await self._dispatch.ready(self._model, 0.0))
        if self._moves > (1 if sent else _MOST_MOVES) or (sent and not line.free):
            raise EngineEnded
        if sent:
            self._moves = _MOST_MOVES
        line.release(self._waiter)
        self._held = False
        adapter, gone = self.adapter, self._waiter
        self._waiter = await self._dispatch.admit(self._model, gone.project_id, since=gone.since)
        self.replica = self._waiter.granted.result()
        self._held = True
        if self.adapter != adapter:  # the request was written for that number
            raise _gone("The model was moved while this request was on its way to it.")
        if self.lease is not None:
            self.lease.replica_id = self.replica.id

    def leave(self) -> None:
        """The slot is free, and the request no longer counted, when the engine has ended all of it."""
        _when_done(self.leaving, self._left)

    def _left(self) -> None:
        self._running.dec()
        if self._held:
            self._dispatch.line(self._model).release(self._waiter, monotonic_s() - self._since)


def _when_done(futures: Sequence[asyncio.Future[None]], then: Callable[[], None]) -> None:
    unfinished = [it for it in futures if not it.done()]
    if not unfinished:
        then()
        return
    unfinished[0].add_done_callback(lambda _: _when_done(unfinished, then))


def _bounds(settings: Settings) -> tuple[int, int]:
    """How many may wait for a model in this API worker, and how many of one project."""
    of_project = settings.max_project_queue or settings.max_queue
    return math.ceil(settings.max_queue / settings.workers), math.ceil(of_project / settings.workers)


async def _granted(line: Line, waiter: Waiter) -> None:
    try:
        await waiter.granted
    except asyncio.CancelledError:
        line.leave(waiter)
        raise


def _gone(message: str) -> Unavailable:
    return Unavailable(message, retry_after_s=1)


def _loading(model: Model, replicas: Sequence[ReplicaView]) -> Unavailable:
    doing = next((it.detail or it.state for it in replicas), "waiting for a node")
    return Unavailable(
        f"{model.name} is being loaded ({doing}); try again soon.",
        code="model_loading",
        retry_after_s=_LOAD_RETRY_S,
    )
