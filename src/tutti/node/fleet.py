"""The workloads of this node: whatever is wanted and not there is brought up, watched, and kept."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.compute.base import Driver
from tutti.engines.base import Engines
from tutti.meeting.replicas import Rows
from tutti.meeting.router import NODE_DEAD_S
from tutti.meeting.wants import Key, Wanted, claim, key_of, read_wanted, want
from tutti.node.room import Room, default_budget_bytes
from tutti.node.runner import Node, Runner
from tutti.process.gpus import list_gpus
from tutti.process.supervisor import Pace
from tutti.store.db import Database
from tutti.store.records import Node as NodeRow
from tutti.store.records import Replica as ReplicaRow

_LOOK_S = 0.5
_BEAT_S = 1.0
_FORGET_BEATS = 10
PACE = Pace()
log = logging.getLogger(__name__)


class Life(Protocol):
    """A row of this node and what it stands for, from the want to the end: a `Runner` with its workload, or
    what lives on another's."""

    @property
    def id(self) -> str: ...

    @property
    def key(self) -> Key: ...

    @property
    def state(self) -> str: ...

    @property
    def gone(self) -> asyncio.Event: ...

    def row(self) -> ReplicaRow:
        """Make the row with which the want is claimed."""
        ...

    async def report(self) -> None:
        """Write its row, also where it had been deleted."""
        ...

    async def run(self) -> None:
        """Return when it is gone or has failed."""
        ...


Make = Callable[[Wanted, "Fleet"], Awaitable[Life | None]]
"""Makes what a want of one kind asks for. None: this node can't, and leaves it to others."""
Workloads = Mapping[str, Make]
"""The table of kinds (parts/workloads)."""


class Fleet:
    """Opened and stopped by the controller. Workloads are known to other processes by their rows alone."""

    def __init__(
        self,
        node: Node,
        database: Database,
        catalog: Catalog,
        engines: Engines,
        workloads: Workloads,
    ) -> None:
        self.node = node
        self.settings = node.settings
        self.database = database
        self.catalog = catalog
        self.engines = engines
        self._workloads = workloads
        self._state = "ready"
        self._asked = asyncio.Event()
        self._preloaded: set[Key] = set()
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops = [asyncio.create_task(self._claim_wants()), asyncio.create_task(self._beat())]

    @classmethod
    async def open(
        cls,
        settings: Settings,
        database: Database,
        catalog: Catalog,
        engines: Engines,
        workloads: Workloads,
        driver: Driver,
        pace: Pace = PACE,
    ) -> "Fleet":
        """Register the node and start to claim what is wanted."""
        rows = Rows(database, node_id(settings))
        budget_bytes = settings.memory_budget_bytes or default_budget_bytes()
        gpus = [gpu.index for gpu in await list_gpus()]
        node = Node(settings, driver, rows, Room(budget_bytes, gpus, rows.last_used), pace)
        await rows.register(_node_row(node))
        return cls(node, database, catalog, engines, workloads)

    @property
    def runners(self) -> Sequence[Runner]:
        """The runners of workloads that serve or will serve, and of those that failed."""
        return [life for life in self._lives.values() if isinstance(life, Runner)]

    async def preload(self, model: Model) -> None:
        """Want a model without a request; its weights may be pulled even where `pull_on_use` is off."""
        key = key_of(model)
        self._preloaded.add(key)
        await want(self.database, Wanted(key))
        self._asked.set()

    def is_preloaded(self, key: Key) -> bool:
        return key in self._preloaded

    async def claim(self, life: Life) -> None:
        """Let it live, if this node is the one that turns its want into a row."""
        if await claim(self.database, life.key, life.row(), now() - NODE_DEAD_S):
            for other in list(self._lives.values()):
                if other.gone.is_set() and other.key == life.key:
                    self._lives.pop(other.id)
            self._lives[life.id] = life
            task = asyncio.create_task(self._live(life))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Write that this node is leaving; what runs goes on until `stop`."""
        self._state = "draining"
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self.node.rows.beat(self._state)

    async def stop(self) -> None:
        """End every program at once, and sign off."""
        tasks = [*self._loops, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self.node.rows.sign_off()

    async def _claim_wants(self) -> None:
        while True:
            try:
                for wanted in await read_wanted(self.database):
                    await self._take_up(wanted)
            except (SQLAlchemyError, OSError) as error:
                log.warning("what is wanted cannot be read", extra={"cause": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._asked.wait()
            self._asked.clear()

    async def _take_up(self, wanted: Wanted) -> None:
        """Claim the want, if this node has its kind. Whatever is wrong with one want delays no other."""
        make = self._workloads.get(wanted.key.kind)
        if make is None:
            return
        try:
            life = await make(wanted, self)
            if life is not None:
                await self.claim(life)
        except (SQLAlchemyError, OSError):
            raise
        except Exception:
            log.exception(
                "a want cannot be taken up", extra={"kind": wanted.key.kind, "workload": wanted.key.name}
            )

    async def _live(self, life: Life) -> None:
        """Keep it until its end. A runner that failed stays, for whoever wants its adapters."""
        await life.run()
        if life.state != "failed" or not isinstance(life, Runner):
            self._lives.pop(life.id, None)

    async def _beat(self) -> None:
        rows = self.node.rows
        for beat in itertools.count():
            try:
                if not await rows.beat(self._state):
                    await rows.register(_node_row(self.node))
                    await asyncio.gather(*(life.report() for life in self._lives.values()))
                if beat % _FORGET_BEATS == 0:
                    await rows.forget_the_dead()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the database does not answer", extra={"cause": str(error)})
            await asyncio.sleep(_BEAT_S)


def _node_row(node: Node) -> NodeRow:
    return NodeRow(
        id=node.rows.node_id,
        address=node.driver.host,
        state="ready",
        memory_budget_bytes=node.room.whole.memory_bytes,
        seen_at=now(),
    )


def node_id(settings: Settings) -> str:
    """Return the node's id, kept in the data directory, which one controller owns at a time."""
    path = settings.data_dir / "node"
    if not path.exists():
        path.write_text(new_id("node"))
    return path.read_text().strip()
