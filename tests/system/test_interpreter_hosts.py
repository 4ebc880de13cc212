"""Several sandbox hosts behind one database: what an API worker makes of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.support import environment
from tests.support.fleet import until

from tutti.app.platform import open_database
from tutti.base.clock import now
from tutti.base.errors import RateLimited
from tutti.base.settings import Settings
from tutti.base.shares import Shares
from tutti.dispatch.interpreter import Interpreter
from tutti.meeting import sandbox_hosts
from tutti.meeting.sandbox_calls import Call
from tutti.sandboxes import host
from tutti.sandboxes.base import Limits
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.sessions import Sessions
from tutti.store.db import Database
from tutti.store.records import Node


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """With two live nodes."""
    async with open_database(Settings(data_dir=tmp_path)) as database:
        async with database.begin() as session:
            for id in ("a", "b"):
                at = now() + 3600
                session.add(Node(id=id, address="", state="ready", memory_budget_bytes=0, seen_at=at))
        yield database


@pytest.fixture
async def interpreter(tmp_path: Path, database: Database) -> AsyncIterator[Interpreter]:
    interpreter = Interpreter(Settings(data_dir=tmp_path, load_wait_s=60), database)
    yield interpreter
    interpreter.close()


@asynccontextmanager
async def hosting(database: Database, node_id: str, most: int = 8) -> AsyncIterator[Sessions]:
    folder = await asyncio.to_thread(environment.made)
    pool = Pool(Bubblewrap(), folder, Limits(), most=most, spare=0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        sessions = Sessions(pool, Shares.of(most, most), lifetime_s=60)
        stack.push_async_callback(sessions.close)
        address = await stack.enter_async_context(host.serving(sessions, f"token-{node_id}", 1 << 20))
        await sandbox_hosts.write(database, node_id, "ready", address=address, token=f"token-{node_id}")
        yield sessions
        await sandbox_hosts.remove(database, node_id)


async def opened(interpreter: Interpreter) -> str:
    return json.loads(await interpreter.execute(Call("p", "x = 42")))["data"]["session_id"]


async def said(interpreter: Interpreter, session_id: str) -> dict:
    return json.loads(await interpreter.execute(Call("p", "print(x)", session_id)))


async def listed(interpreter: Interpreter) -> set[str]:
    return {it["id"] for it in json.loads(await interpreter.sessions("p"))["data"]["sessions"]}


async def test_a_session_is_found_wherever_it_is(database: Database, interpreter: Interpreter) -> None:
    async with hosting(database, "a") as a:
        first = await opened(interpreter)
        async with hosting(database, "b") as b:  # an API worker that knows of a alone finds b's all the same
            other = Interpreter(Settings(), database)
            while not b.listed("p"):
                await opened(other)
            second = b.listed("p")[0].id
            other.close()
            for id in (first, second):
                assert (await said(interpreter, id))["data"]["outputs"][0]["data"] == "42\n"
            everybodys = {it.id for it in (*a.listed("p"), *b.listed("p"))}
            assert await listed(interpreter) == everybodys
        assert "There is no session" in (await said(interpreter, second))["errors"][0]
        assert (await said(interpreter, first))["data"]["outputs"][0]["data"] == "42\n"
        assert await listed(interpreter) == everybodys - {second} - {it.id for it in b.listed("p")}


async def test_a_session_gives_way_only_where_all_hosts_are_full(
    database: Database, interpreter: Interpreter
) -> None:
    async with hosting(database, "a", most=1) as a, hosting(database, "b", most=1) as b:
        first, second = await opened(interpreter), await opened(interpreter)
        assert len(a.listed("p")) == len(b.listed("p")) == 1
        third = await opened(interpreter)
        assert third in await listed(interpreter) and len({first, second} & await listed(interpreter)) == 1
        sleeping = [
            asyncio.create_task(interpreter.execute(Call("p", "import time; time.sleep(100)", id)))
            for id in await listed(interpreter)
        ]
        await until(lambda: not any(it.is_idle for it in (*a.listed("p"), *b.listed("p"))))
        with pytest.raises(RateLimited, match="executing"):
            await opened(interpreter)
        for task in sleeping:
            task.cancel()
        await asyncio.wait(sleeping)


async def test_a_host_that_leaves_gets_no_new_session_and_another_is_waited_for(
    database: Database, interpreter: Interpreter
) -> None:
    async with hosting(database, "a") as sessions:
        await opened(interpreter)
        sessions.leave()
        waiting = asyncio.create_task(opened(interpreter))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        async with hosting(database, "b"):
            assert (await waiting).startswith("ses_")


async def test_whoever_has_the_port_of_a_dead_host_is_not_taken_for_it(
    database: Database, interpreter: Interpreter
) -> None:
    async with hosting(database, "a"):
        (view,) = await sandbox_hosts.hosts(database, 0.0)
        await sandbox_hosts.write(database, "a", "ready", address=view.address, token="another")
        assert await listed(interpreter) == set()
        waiting = asyncio.create_task(opened(interpreter))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await sandbox_hosts.write(database, "a", "ready", address=view.address, token=view.token)
        assert (await waiting).startswith("ses_")
