"""What is looked up once a second, for all who ask."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from tests.support.clock import Clock

from tutti.base.fresh import Fresh

FRESH_S = 1.0
Looked = Fresh[int]


class Place:
    """Counts the looks at it; each takes until it is let go."""

    def __init__(self) -> None:
        self.looks = count(1)
        self.seen = 0
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def look(self) -> int:
        self.seen = found = next(self.looks)
        await self.open.wait()
        if self.broken:
            raise OSError("nothing there")
        return found


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    place.open.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fresh(place: Place, clock: Clock) -> Looked:
    return Fresh(place.look, FRESH_S, clock)


async def test_all_who_ask_at_once_share_a_look(fresh: Looked, place: Place) -> None:
    assert await asyncio.gather(*(fresh.get() for _ in range(5))) == [1] * 5
    assert await fresh.get() == 1


async def test_it_looks_again_ahead_of_time_and_nobody_waits(
    fresh: Looked, place: Place, clock: Clock
) -> None:
    assert await fresh.get() == 1
    clock.seconds += 0.6 * FRESH_S
    place.open.clear()
    assert await fresh.get() == 1
    await asyncio.sleep(0)
    assert place.seen == 2
    place.open.set()
    await asyncio.sleep(0)
    assert await fresh.get() == 2


async def test_what_is_too_old_is_waited_for(fresh: Looked, place: Place, clock: Clock) -> None:
    assert await fresh.get() == 1
    clock.seconds += 1.1 * FRESH_S
    assert await fresh.get() == 2


async def test_a_look_goes_on_when_one_of_those_who_wait_leaves(fresh: Looked, place: Place) -> None:
    place.open.clear()
    leaves, stays = asyncio.create_task(fresh.get()), asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    leaves.cancel()
    place.open.set()
    assert await stays == 1
    assert leaves.cancelled()


async def test_an_error_is_for_those_who_wait_and_the_next_looks_again(fresh: Looked, place: Place) -> None:
    place.broken = True
    with pytest.raises(OSError, match="nothing there"):
        await fresh.get()
    place.broken = False
    assert await fresh.get() == 2


async def test_an_error_ahead_of_time_leaves_what_is_known(fresh: Looked, place: Place, clock: Clock) -> None:
    await fresh.get()
    clock.seconds += 0.6 * FRESH_S
    place.broken = True
    assert await fresh.get() == 1
    await asyncio.sleep(0)
    assert place.seen == 2
    place.broken = False
    assert await fresh.get() == 1
    await asyncio.sleep(0.01)
    assert await fresh.get() == 3


async def test_a_look_that_began_before_it_was_forgotten_is_not_kept(fresh: Looked, place: Place) -> None:
    place.open.clear()
    early = asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    fresh.forget()
    late = asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    place.open.set()
    assert await asyncio.gather(early, late) == [1, 2]
    assert await fresh.get() == 2
