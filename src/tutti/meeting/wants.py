"""Asking the fleets for a workload, and a fleet taking up what is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.exc import IntegrityError

from tutti.base.clock import now
from tutti.base.model import Model
from tutti.base.program import MODEL, NO_SHARE, Share
from tutti.store.db import Database
from tutti.store.records import Node, Replica, Want

RETRY_FAILED_S = 30.0
"""A workload that failed to start is tried again when it is wanted after so long."""
_WANTED = select(Want.name, Want.project_id, Want.kind, Want.spec, Want.memory_bytes, Want.gpus).order_by(
    Want.wanted_at
)


@dataclass(frozen=True, order=True)
class Key:
    """The identity of a workload. `project_id` is empty for what is everybody's."""

    name: str
    project_id: str = ""
    kind: str = MODEL


@dataclass(frozen=True)
class Wanted:
    """A workload that somebody waits for: `spec` is what it is made from besides its name. With an empty
    share, the workload itself says what it needs."""

    key: Key
    spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    share: Share = NO_SHARE


def key_of(model: Model) -> Key:
    return Key(model.name, model.project_id or "")


async def want(database: Database, wanted: Wanted) -> None:
    """Write the want. Asking again for what is wanted already changes nothing."""
    key, share = wanted.key, wanted.share
    row = Want(
        kind=key.kind,
        name=key.name,
        project_id=key.project_id,
        spec=dict(wanted.spec),
        gpus=share.gpus,
        memory_bytes=share.memory_bytes,
        wanted_at=now(),
    )
    try:
        async with database.begin() as session:
            if await session.scalar(select(Want.name).where(_is(Want, key))) is None:
                session.add(row)
    except IntegrityError:
        return  # another worker asked in the same moment


async def read_wanted(database: Database) -> Sequence[Wanted]:
    """Return all that is wanted, oldest first."""
    return [_wanted(*row) for row in await database.poll(_WANTED)]


async def claim(database: Database, key: Key, replica: Replica, dead_before: float) -> bool:
    """Turn a want into a row of this node's, unless some live node has one that serves or will serve, or
    that is still leaving (then the want stays). However many fleets try, one succeeds: it is the one whose
    transaction deletes the want."""
    async with database.begin() as session:
        alive = select(Node.id).where(Node.seen_at > dead_before)
        query = select(Replica).where(_is(Replica, key), Replica.node_id.in_(alive))
        existing = (await session.scalars(query)).all()
        if any(row.state == "draining" for row in existing):
            return False
        deleted: Any = await session.execute(delete(Want).where(_is(Want, key)))
        live = [row for row in existing if not _may_retry(row)]
        if deleted.rowcount == 0 or live:
            return False
        for row in existing:
            await session.delete(row)
        session.add(replica)
    return True


def _wanted(
    name: str, project_id: str, kind: str, spec: Mapping[str, Any], memory_bytes: int, gpus: int
) -> Wanted:
    return Wanted(Key(name, project_id, kind), spec, Share(memory_bytes, gpus))


def _is(table: type[Want | Replica], key: Key) -> ColumnElement[bool]:
    return and_(table.kind == key.kind, table.name == key.name, table.project_id == key.project_id)


def _may_retry(row: Replica) -> bool:
    return row.state == "failed" and row.changed_at < now() - RETRY_FAILED_S
