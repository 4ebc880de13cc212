"""Resolving a model's name and leasing a slot on a replica that serves it. Every API worker has one
Dispatch."""

import difflib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s
from tutti.base.errors import EngineEnded, InternalError, LoadFailed, NotFound
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.aliases import any_alias
from tutti.catalog.catalog import Catalog
from tutti.dispatch.announcer import Announcer
from tutti.dispatch.background import Traffic, meeting_place
from tutti.dispatch.lines import Lines
from tutti.dispatch.listener import Listener
from tutti.dispatch.seat import ReplicaSeat
from tutti.dispatch.suspects import Suspects, Watch
from tutti.dispatch.upstream import HttpUpstream
from tutti.dispatch.wire import Client
from tutti.engines.base import Engine
from tutti.engines.upstream import Upstream
from tutti.meeting.router import MAX_AGE_S, ReplicaView, Table
from tutti.process import metrics
from tutti.store.db import Database


@dataclass
class Lease:
    """A slot on a replica, for one request."""

    engine: Engine
    upstream: Upstream
    queued_s: float


class Dispatch:
    """Leases slots on replicas. `start` and `close` belong to the composition root; they run in the loop that
    serves the requests. With `background` the requests are those of jobs: they make way for clients', and any
    number may wait."""

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
        self._catalog = catalog
        self._engines = engines
        self._table = Table(database)
        self.lines = Lines(settings, database, self._table, background=background)
        self._client = Client()
        self._suspects = Suspects()
        folder = meeting_place(settings.data_dir)
        self._traffic: Traffic = Listener(folder) if background else Announcer(folder)

    async def start(self) -> None:
        await self._traffic.start()
        self.lines.start()

    async def close(self) -> None:
        await self.lines.close()
        await self._traffic.close()
        await self._table.close()
        self._client.close()

    async def replicas(self) -> Sequence[ReplicaView]:
        """Return all replicas on live nodes, in every state, as they were at most `MAX_AGE_S` ago."""
        return await self._table.read()

    async def slots(self, model: Model) -> int:
        """Return how many requests the model's ready replicas take at once; 0 while none is ready."""
        return sum(replica.slots for replica in await self.lines.ready(model, MAX_AGE_S))

    async def resolve(self, name: str, project_id: str) -> Model:
        """Return the model that the project may use under this name or alias. Raises NotFound."""
        model = await self._catalog.find(name, project_id)
        if model is None:
            raise await self._unknown(name, project_id)
        return self.as_served(model)

    def as_served(self, model: Model) -> Model:
        """Return the model with the context that it is served with: an engine may give it less than it could
        have. A wrong entry is left as it is: it fails when it is used, not in every list."""
        engine = self._engines.get(model.engine)
        try:
            context = model.context_length if engine is None else engine.context(model)
        except LoadFailed:
            return model
        if context == model.context_length:
            return model
        return msgspec.structs.replace(model, context_length=context)

    @asynccontextmanager
    async def lease(self, model: Model, project_id: str = "", *, live: bool = False) -> AsyncGenerator[Lease]:
        """Lease a slot for a request of the project. `live` is for a session, whose requests can't wait for
        others. Raises RateLimited where too many wait already, Unavailable where no replica can be had in
        time."""
        engine = self._engines.get(model.engine)
        if engine is None:
            raise InternalError(
                f"{model.name} needs the engine {model.engine}, which this server does not have."
            )
        headers = engine.headers(model)  # before a slot is taken: they may be missing
        began = monotonic_s()
        turn = await self._traffic.begin(engine, model)
        try:
            seat = ReplicaSeat(self.lines, model, headers, await self.lines.admit(model, project_id))
            upstream = turn.upstream(self._upstream(engine, seat, project_id, live=live))
            lease = Lease(engine, upstream, monotonic_s() - began)
            metrics.observe_lease(model.name, lease.queued_s)
            try:
                yield lease
            except EngineEnded as error:
                raise EngineEnded(await self._why_ended(seat.replica.id)) from error
            finally:
                seat.leave()
        finally:
            turn.end()

    def _upstream(self, engine: Engine, seat: ReplicaSeat, project_id: str, *, live: bool) -> HttpUpstream:
        """Open the way to the engine. Engines that others run are not watched: a connection that breaks says
        nothing about the request."""
        if not engine.progress_path:
            return HttpUpstream(self._client, seat)
        watch = Watch(None if live else self._suspects, project_id)
        return HttpUpstream(self._client, seat, watch, seat.leaving.append)

    async def _why_ended(self, replica_id: str) -> str:
        """Return why the replica's engine was ended, where the controller ended it: its row says so first."""
        try:
            table = await self._table.read(0.0)
        except (SQLAlchemyError, OSError):
            return ""
        return next((replica.detail for replica in table if replica.id == replica_id), "")

    async def _unknown(self, asked: str, project_id: str) -> NotFound:
        target = any_alias(self._settings.aliases, asked)
        name, alias = (asked, "") if target is None else (target, f", for which {asked} is an alias")
        names = [model.name for model in await self._catalog.models(project_id)]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(close)}?" if close else " GET /v1/models lists what there is."
        return NotFound(f"There is no model {name}{alias}.{hint}", param="model", code="model_not_found")
