"""The replicas of this node: whatever is wanted and not there is brought up, watched, and kept."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.compute.base import Driver
from tutti.engines.base import Engine
from tutti.meeting.replicas import Rows
from tutti.meeting.router import NODE_DEAD_S
from tutti.meeting.wants import Key, claim, key_of, want, wanted
from tutti.node.adapters import Guest
from tutti.node.room import Room, default_budget_bytes
from tutti.node.runner import Node, Runner
from tutti.process.gpus import list_gpus
from tutti.process.supervisor import Pace
from tutti.store.db import Database
from tutti.store.records import Node as NodeRow

_LOOK_S = 0.5
_BEAT_S = 1.0
_FORGET_BEATS = 10
PACE = Pace()
log = logging.getLogger(__name__)


class Fleet:
    """Opened and stopped by the controller. Replicas are known to other processes by their rows alone."""

    def __init__(self, node: Node, database: Database) -> None:
        self._node = node
        self._database = database
        self._state = "ready"
        self._asked = asyncio.Event()
        self._preloaded: set[Key] = set()
        self._runners: dict[str, Runner] = {}
        self._guests: dict[str, Guest] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._loops = [asyncio.create_task(self._claim_wants()), asyncio.create_task(self._beat())]

    @classmethod
    async def open(
        cls,
        settings: Settings,
        database: Database,
        catalog: Catalog,
        engines: Mapping[str, Engine],
        driver: Driver,
        pace: Pace = PACE,
    ) -> "Fleet":
        rows = Rows(database, node_id(settings))
        budget_bytes = settings.memory_budget_bytes or default_budget_bytes()
        gpus = [gpu.index for gpu in await list_gpus()]
        room = Room(budget_bytes, gpus, rows.last_used)
        node = Node(settings, catalog, engines, driver, rows, room, pace)
        await rows.register(_node_row(rows.node_id, node))
        return cls(node, database)

    @property
    def runners(self) -> Iterable[Runner]:
        """Those that serve or will serve, and those that failed."""
        return tuple(self._runners.values())

    async def preload(self, model: Model) -> None:
        """Wants it without a request; its weights may be pulled even where `pull_on_use` is off."""
        key = key_of(model)
        self._preloaded.add(key)
        await want(self._database, key)
        self._asked.set()

    async def drain(self) -> None:
        """Says that this node is leaving; what runs goes on until `stop`."""
        self._state = "draining"
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._node.rows.beat(self._state)

    async def stop(self) -> None:
        """Ends every engine at once, and signs off."""
        tasks = [*self._loops, *self._lives]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._node.rows.sign_off()

    async def _claim_wants(self) -> None:
        while True:
            try:
                for key in await wanted(self._database):
                    await self._claim(key)
            except (SQLAlchemyError, OSError) as error:
                log.warning("what is wanted cannot be read", extra={"cause": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._asked.wait()
            self._asked.clear()

    async def _claim(self, key: Key) -> None:
        model = await self._node.catalog.find(key.model, key.project_id)
        if model is None or key_of(model) != key:
            return
        if model.adapter_of is None:
            await self._claim_replica(model, ())
        else:
            await self._claim_adapter(model, model.adapter_of)

    async def _claim_replica(self, model: Model, adapters: Iterable[Model]) -> None:
        runner = Runner(self._node, model)
        for adapter in adapters:
            runner.adapters.ask(adapter)
        row = self._node.rows.new(runner.id, model, state=runner.state)
        if await claim(self._database, runner.key, row, now() - NODE_DEAD_S):
            self._runners[runner.id] = runner
            self._begin(self._live(runner, runner.key))

    async def _claim_adapter(self, model: Model, base_name: str) -> None:
        """Only the node that has its base takes it; where no node has, this one tries to bring that up."""
        base = await self._node.catalog.find(base_name, model.project_id or "")
        if base is None:
            row = self._node.rows.new(
                new_id("replica"), model, state="failed", detail=f"there is no model {base_name} any more"
            )
            await claim(self._database, key_of(model), row, now() - NODE_DEAD_S)
            return
        if self._host(base) is None:
            await want(self._database, key_of(base))
            await self._claim_replica(base, [model])
        host = self._host(base) or self._failed(base)
        if host is None:
            return
        guest = Guest(self._node.rows, model, host)
        row = self._node.rows.new(guest.id, model, state="starting")
        if await claim(self._database, guest.key, row, now() - NODE_DEAD_S):
            self._begin(self._accompany(guest))

    def _host(self, base: Model) -> Runner | None:
        return next((it for it in self.runners if it.key == key_of(base) and not it.gone.is_set()), None)

    def _failed(self, base: Model) -> Runner | None:
        return next((it for it in self.runners if it.key == key_of(base) and it.state == "failed"), None)

    def _begin(self, life: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(life)
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)

    async def _accompany(self, guest: Guest) -> None:
        self._guests[guest.id] = guest
        try:
            await guest.run()
        finally:
            del self._guests[guest.id]

    async def _live(self, runner: Runner, key: Key) -> None:
        for other in self.runners:
            if other.gone.is_set() and other.key == key:
                self._runners.pop(other.id)
        await runner.run(may_pull=self._node.settings.pull_on_use or key in self._preloaded)
        if runner.state != "failed":
            self._runners.pop(runner.id)

    async def _beat(self) -> None:
        rows = self._node.rows
        for beat in itertools.count():
            try:
                if not await rows.beat(self._state):
                    await rows.register(_node_row(rows.node_id, self._node))
                    known = [*self.runners, *self._guests.values()]
                    await asyncio.gather(*(it.report() for it in known))
                if beat % _FORGET_BEATS == 0:
                    await rows.forget_the_dead()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the database does not answer", extra={"cause": str(error)})
            await asyncio.sleep(_BEAT_S)


def _node_row(id: str, node: Node) -> NodeRow:
    budget_bytes = node.room.whole.memory_bytes
    return NodeRow(
        id=id, address=node.driver.host, state="ready", memory_budget_bytes=budget_bytes, seen_at=now()
    )


def node_id(settings: Settings) -> str:
    """Kept in the data directory, which one controller owns at a time."""
    path = settings.data_dir / "node"
    if not path.exists():
        path.write_text(new_id("node"))
    return path.read_text().strip()
