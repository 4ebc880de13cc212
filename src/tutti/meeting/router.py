"""The replicas that there are. The fleets of all nodes write the table; every API worker reads it here."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Executable, bindparam, select

from tutti.base.clock import monotonic_s, now
from tutti.base.model import Model
from tutti.base.program import MODEL
from tutti.meeting.wants import Key
from tutti.store.db import Database
from tutti.store.records import Node, Replica

NODE_DEAD_S = 5.0
"""A node that has not been seen for so long is taken for dead, and its replicas with it."""
MAX_AGE_S = 1.0
_KEEP_FRESH_S = 5.0
_COLUMNS = (
    Replica.id,
    Replica.name,
    Replica.project_id,
    Replica.state,
    Replica.detail,
    Replica.address,
    Replica.slots,
    Replica.changed_at,
    Replica.adapter,
)
_ON_LIVE_NODES = select(*_COLUMNS).where(
    Replica.kind == bindparam("kind"),
    Replica.node_id.in_(select(Node.id).where(Node.seen_at > bindparam("since"))),
)
_OF_KEY = _ON_LIVE_NODES.where(
    Replica.name == bindparam("name"), Replica.project_id == bindparam("project_id")
)


class ReplicaView(msgspec.Struct, frozen=True):
    """The part of a replica's row that a request needs."""

    id: str
    name: str
    project_id: str
    state: str
    detail: str
    address: str
    slots: int
    changed_at: float
    adapter: int = -1


def of_model(replicas: Iterable[ReplicaView], model: Model) -> list[ReplicaView]:
    """Return those of a model's replicas that are its project's, or everybody's where the model is."""
    project_id = model.project_id or ""
    return [it for it in replicas if it.name == model.name and it.project_id == project_id]


def least_loaded(replicas: Iterable[ReplicaView], running: Mapping[str, int]) -> ReplicaView | None:
    """Return the replica with the largest part of its slots free; None if every slot is taken."""
    free = [it for it in replicas if running.get(it.id, 0) < it.slots]
    return min(free, key=lambda it: running.get(it.id, 0) / it.slots, default=None)


class Table:
    """The replicas of models on live nodes, at most `MAX_AGE_S` old. While requests keep coming it is kept
    fresh in the background, so that they need not wait for the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: Sequence[ReplicaView] = ()
        self._read_at = float("-inf")
        self._asked_at = float("-inf")
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def read(self, max_age_s: float = MAX_AGE_S) -> Sequence[ReplicaView]:
        self._asked_at = monotonic_s()
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._keep_fresh())
        return await self._read(max_age_s)

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    async def _read(self, max_age_s: float) -> Sequence[ReplicaView]:
        wanted_at = monotonic_s() - max_age_s
        if self._read_at < wanted_at:
            async with self._reading:
                if self._read_at < wanted_at:
                    began = monotonic_s()
                    self._rows = await _poll(self._database, _ON_LIVE_NODES, kind=MODEL)
                    self._read_at = began
        return self._rows

    async def _keep_fresh(self) -> None:
        while monotonic_s() - self._asked_at < _KEEP_FRESH_S:
            await self._read(MAX_AGE_S / 2)
            await asyncio.sleep(MAX_AGE_S / 2)


async def replicas_of(database: Database, key: Key) -> Sequence[ReplicaView]:
    """Return the workload's replicas on live nodes, in every state."""
    return await _poll(database, _OF_KEY, kind=key.kind, name=key.name, project_id=key.project_id)


async def _poll(database: Database, query: Executable, **values: str) -> Sequence[ReplicaView]:
    rows = await database.poll(query, {**values, "since": now() - NODE_DEAD_S})
    return [ReplicaView(*row) for row in rows]
