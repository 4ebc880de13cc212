"""Processors and memory between projects: what one runs in several sessions gives way to others."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest_asyncio
from tests.support.fleet import until
from tests.support.sandboxes import environment

from tutti.base.shares import Shares
from tutti.meeting.sandbox_calls import Call
from tutti.sandboxes.base import MIB, Limits
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.sessions import SessionGone, Sessions
from tutti.sandboxes.weight import niceness

LOOP = "while True: pass"


HOLD = "held = bytearray({mib} * 1024**2); held[::4096] = b'1' * len(held[::4096])"


@pytest_asyncio.fixture
async def sessions() -> AsyncIterator[Sessions]:
    pool = Pool(Bubblewrap(), await asyncio.to_thread(environment), Limits(), most=8, spare=0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        sessions = Sessions(pool, Shares.of(8, 8), lifetime_s=600, memory_bytes=400 * MIB)
        stack.push_async_callback(sessions.close)
        yield sessions


def nices(sessions: Sessions, project_id: str) -> Sequence[int]:
    """Of the processes that work."""
    pids = [pid for it in sessions.listed(project_id) for pid in it.session.working()]
    return [os.getpriority(os.PRIO_PROCESS, pid) for pid in pids]


async def test_what_a_project_runs_weighs_together_as_much_as_one(sessions: Sessions) -> None:
    loops = [asyncio.create_task(sessions.execute(Call(project, LOOP))) for project in "aaab"]

    async def are(project_id: str, *expected: int) -> None:
        await until(lambda: sorted(nices(sessions, project_id)) == sorted(expected))

    await are("a", *[niceness(3)] * 6)  # the first process of each sandbox, and its runner
    await are("b", 0, 0)
    for loop in loops:
        loop.cancel()
    await asyncio.wait(loops)


async def test_who_takes_the_most_memory_loses_the_largest_session(sessions: Sessions) -> None:
    kept, _ = await sessions.execute(Call("b", HOLD.format(mib=150)))
    small, _ = await sessions.execute(Call("a", HOLD.format(mib=100)))
    assert sessions.listed("a") == [small]
    large, _ = await sessions.execute(Call("a", "1"))
    with contextlib.suppress(SessionGone):  # it may be ended while it executes this, or after that
        await sessions.execute(Call("a", HOLD.format(mib=180), large.id))
    await until(lambda: large.ended is not None)
    assert "400 MiB" in str(large.ended) and "interpreter_total_memory_bytes" in str(large.ended)
    assert sessions.listed("a") == [small] and sessions.listed("b") == [kept]


def test_each_of_many_gets_little() -> None:
    assert [niceness(count) for count in (0, 1, 2, 4, 16, 1000)] == [0, 0, 3, 6, 12, 19]
