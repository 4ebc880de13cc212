"""The rows that a fleet owns: its node, and the replicas on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.meeting.wants import Key
from tutti.store.db import Database
from tutti.store.records import Node, Replica, Want

_RETRY_S = 0.5
_NOTHING_LOADED = {"synchronize_session": False}
_FORGET_S = 60.0
T = TypeVar("T")
Entry = Mapping[str, Any]
"""The description that a workload was made from."""
log = logging.getLogger(__name__)


class Rows:
    """Every method waits for a database that does not answer, since what it writes must come true."""

    def __init__(self, database: Database, node_id: str) -> None:
        self._database = database
        self.node_id = node_id

    async def save(self, replica_id: str, key: Key, entry: Entry, **values: Any) -> None:
        """Write the row, also where it had been deleted."""

        async def write() -> None:
            async with self._database.begin() as session:
                fresh = {**values, "changed_at": now()}
                done: Any = await session.execute(
                    update(Replica).where(Replica.id == replica_id).values(**fresh)
                )
                if done.rowcount == 0:
                    session.add(self.new(replica_id, key, entry, **values))

        await persist(write)

    def new(self, replica_id: str, key: Key, entry: Entry, **values: Any) -> Replica:
        """Make the row, without writing it."""
        return Replica(
            id=replica_id,
            node_id=self.node_id,
            kind=key.kind,
            name=key.name,
            project_id=key.project_id,
            entry=dict(entry),
            changed_at=now(),
            used_at=now(),
            **values,
        )

    async def remove(self, replica_id: str) -> None:
        async def write() -> None:
            async with self._database.begin() as session:
                await session.execute(delete(Replica).where(Replica.id == replica_id))

        await persist(write)

    async def last_used(self) -> Mapping[str, float]:
        """Return the time of each replica's last use, by its id; an adapter's use is also that of the replica
        whose address it shares."""

        async def read() -> Mapping[str, float]:
            columns = (Replica.id, Replica.address, Replica.used_at)
            query = select(*columns).where(Replica.node_id == self.node_id).order_by(Replica.used_at)
            async with self._database.read() as session:
                rows = (await session.execute(query)).all()
            newest = {address or id: used_at for id, address, used_at in rows}
            return {id: newest[address or id] for id, address, _ in rows}

        return await persist(read)

    async def register(self, node: Node) -> None:
        """Write the node's row, and forget what an earlier life of the node has left behind."""
        async with self._database.begin() as session:
            await session.execute(delete(Replica).where(Replica.node_id == self.node_id))
            await session.merge(node)

    async def beat(self, state: str) -> bool:
        """Write that the node is alive. False if others had taken it for dead and forgotten it."""
        async with self._database.begin() as session:
            seen = update(Node).where(Node.id == self.node_id).values(seen_at=now(), state=state)
            done: Any = await session.execute(seen, execution_options=_NOTHING_LOADED)
            return done.rowcount > 0

    async def forget_the_dead(self) -> None:
        """Delete nodes that were not seen for a minute, and wants that nobody could take up for as long."""
        dead = select(Node.id).where(Node.seen_at < now() - _FORGET_S)
        async with self._database.begin() as session:
            await session.execute(delete(Replica).where(Replica.node_id.in_(dead)))
            await session.execute(delete(Node).where(Node.seen_at < now() - _FORGET_S))
            await session.execute(delete(Want).where(Want.wanted_at < now() - _FORGET_S))

    async def sign_off(self) -> None:
        """Delete the node and its replicas; with the last node, also everything that was wanted."""
        async with self._database.begin() as session:
            await session.execute(delete(Replica).where(Replica.node_id == self.node_id))
            await session.execute(delete(Node).where(Node.id == self.node_id))
            if await session.scalar(select(Node.id).limit(1)) is None:
                await session.execute(delete(Want))


async def persist(action: Callable[[], Awaitable[T]]) -> T:
    """Try until the database answers."""
    while True:
        try:
            return await action()
        except (SQLAlchemyError, OSError) as error:
            log.warning("the database does not answer; trying again", extra={"cause": str(error)})
            await asyncio.sleep(_RETRY_S)
