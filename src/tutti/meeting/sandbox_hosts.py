"""The rows of sandbox hosts, where API workers, controllers and hosts meet: they say where sessions are."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from tutti.base.clock import now
from tutti.store.db import Database
from tutti.store.records import Node, SandboxHost

RETRY_FAILED_S = 30.0
"""A host that could not work is tried again when it is wanted after so long."""
_LIVE = select(Node.id).where(Node.seen_at > bindparam("since"))
_VIEW = (
    SandboxHost.node_id,
    SandboxHost.state,
    SandboxHost.detail,
    SandboxHost.address,
    SandboxHost.token,
    SandboxHost.changed_at,
)
_HOSTS = select(*_VIEW).where(SandboxHost.node_id.in_(_LIVE)).order_by(SandboxHost.node_id)
_WANTED = select(SandboxHost.node_id).where(
    SandboxHost.node_id == bindparam("node_id"), SandboxHost.state == "wanted"
)


class HostView(msgspec.Struct, frozen=True):
    """The part of a host's row that a request needs."""

    node_id: str
    state: str
    detail: str
    address: str
    token: str
    changed_at: float

    @property
    def is_given_up(self) -> bool:
        return self.state == "failed" and self.changed_at > now() - RETRY_FAILED_S


async def hosts(database: Database, since: float) -> Sequence[HostView]:
    """Return the hosts of nodes that were seen since then, in every state."""
    return [HostView(*row) for row in await database.poll(_HOSTS, {"since": since})]


async def want(database: Database, since: float) -> None:
    """Ask the first node that was seen since then for a host, but none whose host failed a moment ago.
    Asking for what is wanted already, or there, changes nothing."""
    there = {it.node_id: it for it in await hosts(database, since)}
    try:
        async with database.begin() as session:
            ready = select(Node.id).where(Node.seen_at > since, Node.state == "ready").order_by(Node.id)
            for node_id in await session.scalars(ready):
                if node_id not in there:
                    session.add(_row(node_id, "wanted"))
                    return
                if not there[node_id].is_given_up:
                    again = SandboxHost.node_id == node_id, SandboxHost.state == "failed"
                    wanted = {"state": "wanted", "detail": "", "changed_at": now()}
                    await session.execute(update(SandboxHost).where(*again).values(**wanted))
                    return
    except IntegrityError:
        return  # another worker asked in the same moment


async def is_wanted(database: Database, node_id: str) -> bool:
    """Return whether somebody waits for the node's host. It is one cheap query."""
    return bool(await database.poll(_WANTED, {"node_id": node_id}))


async def write(database: Database, node_id: str, state: str, **values: str) -> None:
    """Write the host's row, also where there was none."""
    async with database.begin() as session:
        await session.merge(_row(node_id, state, **values))


async def remove(database: Database, node_id: str, *, but_failed: bool = False) -> None:
    """Delete the host's row. `but_failed`: one that says what went wrong stays for those who ask."""
    async with database.begin() as session:
        this: list[Any] = [SandboxHost.node_id == node_id]
        if but_failed:
            this.append(SandboxHost.state != "failed")
        await session.execute(delete(SandboxHost).where(*this))


def _row(node_id: str, state: str, *, detail: str = "", address: str = "", token: str = "") -> SandboxHost:
    values = {"detail": detail, "address": address, "token": token}
    return SandboxHost(node_id=node_id, state=state, changed_at=now(), **values)
