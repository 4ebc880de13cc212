"""The processors' time between projects: what one runs in several sessions gives way to others."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest_asyncio
from tests.support.fleet import until
from tests.support.sandboxes import environment

from tutti.base.shares import Shares
from tutti.sandboxes.base import Limits
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.calls import Call
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.sessions import Sessions
from tutti.sandboxes.weight import niceness

LOOP = "while True: pass"


@pytest_asyncio.fixture
async def sessions() -> AsyncIterator[Sessions]:
    pool = Pool(Bubblewrap(), await asyncio.to_thread(environment), Limits(), most=8, spare=0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(pool.close)
        sessions = Sessions(pool, Shares.of(8, 8), lifetime_s=600)
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


def test_each_of_many_gets_little() -> None:
    assert [niceness(count) for count in (0, 1, 2, 4, 16, 1000)] == [0, 0, 3, 6, 12, 19]
