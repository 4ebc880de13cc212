"""Whose turn it is to compute."""

import asyncio
import threading

from tutti.workers.transcribe.lanes import Lane


async def test_the_most_urgent_comes_first_then_the_first_come() -> None:
    lane, go, order = Lane("test"), threading.Event(), list[str]()
    first = asyncio.create_task(lane.run(go.wait))
    await asyncio.sleep(0.05)
    others = [
        asyncio.create_task(lane.run(lambda name=name: order.append(name), urgency))
        for name, urgency in (("draft", 1), ("final", 0), ("late draft", 1), ("late final", 0))
    ]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *others)
    assert order == ["final", "late final", "draft", "late draft"]


async def test_who_gives_up_while_waiting_never_computes() -> None:
    lane, go, order = Lane("test"), threading.Event(), list[str]()
    first = asyncio.create_task(lane.run(go.wait))
    await asyncio.sleep(0.05)
    given_up = asyncio.create_task(lane.run(lambda: order.append("given up")))
    last = asyncio.create_task(lane.run(lambda: order.append("last")))
    await asyncio.sleep(0)
    given_up.cancel()
    go.set()
    await asyncio.gather(first, last)
    assert order == ["last"]


async def test_work_that_fails_or_is_left_does_not_hold_up_the_next() -> None:
    lane, go = Lane("test"), threading.Event()
    left = asyncio.create_task(lane.run(go.wait))
    await asyncio.sleep(0.05)
    left.cancel()
    failing = asyncio.create_task(lane.run(lambda: 1 // 0))
    await asyncio.sleep(0)
    go.set()
    assert isinstance((await asyncio.gather(failing, return_exceptions=True))[0], ZeroDivisionError)
    assert await lane.run(lambda: 1) == 1
