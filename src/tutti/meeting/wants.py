"""Asking the fleets for a model, and a fleet taking up what is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from tutti.base.clock import now
from tutti.base.model import Model
from tutti.store.db import Database
from tutti.store.records import Node, Replica, Want

RETRY_FAILED_S = 30.0
"""A model that failed to start is tried again when it is wanted after so long."""
_WANTED = select(Want.model, Want.project_id).order_by(Want.wanted_at)


@dataclass(frozen=True, order=True)
class Key:
    """`project_id` is empty for everybody's models."""

    model: str
    project_id: str = ""


def key_of(model: Model) -> Key:
    return Key(model.name, model.project_id or "")


async def want(database: Database, key: Key) -> None:
    """Asking again for what is wanted already changes nothing."""
    this = (Want.model == key.model) & (Want.project_id == key.project_id)
    try:
        async with database.begin() as session:
            if await session.scalar(select(Want.model).where(this)) is None:
                session.add(Want(model=key.model, project_id=key.project_id, wanted_at=now()))
    except IntegrityError:
        return  # another worker asked in the same moment


async def wanted(database: Database) -> Sequence[Key]:
    """Oldest first."""
    return [Key(*row) for row in await database.poll(_WANTED)]


async def claim(database: Database, key: Key, replica: Replica, dead_before: float) -> bool:
    """Turns a want into a row of this node's, unless some live node has one that serves or will serve, or
    that is still leaving (then the want stays). However many fleets try, one succeeds: it is the one whose
    transaction deletes the want."""
    this = (Want.model == key.model) & (Want.project_id == key.project_id)
    async with database.begin() as session:
        alive = select(Node.id).where(Node.seen_at > dead_before)
        query = select(Replica).where(
            Replica.model == key.model, Replica.project_id == key.project_id, Replica.node_id.in_(alive)
        )
        existing = (await session.scalars(query)).all()
        if any(row.state == "draining" for row in existing):
            return False
        deleted: Any = await session.execute(delete(Want).where(this))
        live = [row for row in existing if not _may_retry(row)]
        if deleted.rowcount == 0 or live:
            return False
        for row in existing:
            await session.delete(row)
        session.add(replica)
    return True


def _may_retry(row: Replica) -> bool:
    return row.state == "failed" and row.changed_at < now() - RETRY_FAILED_S
