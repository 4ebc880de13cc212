"""How API workers, controllers and sandbox hosts meet, in both databases."""

import asyncio

import pytest
from tests.support.databases import database, kind, migrated

from tutti.base.clock import now
from tutti.meeting import sandbox_hosts
from tutti.store.db import Database
from tutti.store.records import Node, SandboxHost

LATELY_S = 30.0
"""Who was seen since is alive: long enough for a test, and not for d."""
__all__ = ["database", "kind", "migrated"]


@pytest.fixture
async def nodes(database: Database) -> None:
    """a is alive, b too; c is leaving, d was not seen for a minute."""
    seen = {
        "a": ("ready", now()),
        "b": ("ready", now()),
        "c": ("draining", now()),
        "d": ("ready", now() - 60),
    }
    async with database.begin() as session:
        for id, (state, at) in seen.items():
            session.add(Node(id=id, address="", state=state, memory_budget_bytes=0, seen_at=at))


async def states(database: Database, since: float) -> dict[str, str]:
    return {it.node_id: it.state for it in await sandbox_hosts.hosts(database, since)}


async def test_however_many_ask_one_host_is_wanted(database: Database, nodes: None):
    since = now() - LATELY_S
    assert not await sandbox_hosts.is_wanted(database, "a")
    await asyncio.gather(*(sandbox_hosts.want(database, since) for _ in range(5)))
    assert await states(database, since) == {"a": "wanted"}
    assert await sandbox_hosts.is_wanted(database, "a") and not await sandbox_hosts.is_wanted(database, "b")


async def test_what_is_there_is_left_alone(database: Database, nodes: None):
    since = now() - LATELY_S
    await sandbox_hosts.write(database, "a", "ready", address="http://x", token="t")
    await sandbox_hosts.want(database, since)
    (view,) = await sandbox_hosts.hosts(database, since)
    assert (view.state, view.address, view.token) == ("ready", "http://x", "t")


async def test_where_one_has_failed_another_node_is_asked_and_later_the_same(database: Database, nodes: None):
    since = now() - LATELY_S
    await sandbox_hosts.write(database, "a", "failed", detail="no")
    await sandbox_hosts.want(database, since)
    assert await states(database, since) == {"a": "failed", "b": "wanted"}
    async with database.begin() as session:
        row = await session.get_one(SandboxHost, "a")
        row.changed_at = now() - sandbox_hosts.RETRY_FAILED_S
    await sandbox_hosts.want(database, since)
    assert await states(database, since) == {"a": "wanted", "b": "wanted"}


async def test_without_a_live_node_nothing_is_wanted(database: Database):
    await sandbox_hosts.want(database, now() - LATELY_S)
    assert await sandbox_hosts.hosts(database, 0.0) == []


async def test_hosts_of_dead_nodes_are_not_seen(database: Database, nodes: None):
    await sandbox_hosts.write(database, "d", "ready", address="http://x", token="t")
    assert await states(database, now() - LATELY_S) == {}


async def test_a_row_goes_but_for_what_went_wrong(database: Database, nodes: None):
    for state, left in (("ready", {}), ("failed", {"a": "failed"})):
        await sandbox_hosts.write(database, "a", state)
        await sandbox_hosts.remove(database, "a", but_failed=True)
        assert await states(database, now() - LATELY_S) == left
    await sandbox_hosts.remove(database, "a")
    assert await states(database, now() - LATELY_S) == {}
