"""The queue of one model."""

import pytest

from tutti.base.errors import RateLimited, Unavailable
from tutti.dispatch.line import Line
from tutti.meeting.router import ReplicaView, least_loaded


def replica(name: str, slots: int = 1, port: int = 1) -> ReplicaView:
    return ReplicaView(name, "m", "", "ready", "", f"http://127.0.0.1:{port}", slots, 0.0)


async def test_a_free_slot_is_granted_at_once() -> None:
    line = Line("m", 0, 0)
    line.offer([replica("a")])
    assert line.enter().granted.result().id == "a"
    assert (line.running, line.waiting) == (1, 0)


async def test_a_line_is_served_as_long_as_a_replica_is_known_that_works() -> None:
    line = Line("m", 9, 9)
    assert not line.is_served
    line.offer([replica("a")])
    line.enter()
    assert line.is_served
    line.suspect(replica("a"))
    assert not line.is_served


async def test_a_full_line_refuses_with_the_wait() -> None:
    line = Line("m", 1, 1)
    line.offer([replica("a")])
    line.enter()
    line.enter()
    with pytest.raises(RateLimited, match="1 requests already wait for m") as caught:
        line.enter()
    assert caught.value.retry_after_s is not None


async def test_one_that_had_a_place_is_let_in_and_goes_first() -> None:
    line = Line("m", 1, 1)
    first = line.enter()
    again = line.enter(since=first.since)
    line.offer([replica("a")])
    assert again.granted.done()
    assert not first.granted.done()


async def test_slots_are_granted_in_order_on_the_least_loaded() -> None:
    line = Line("m", 9, 9)
    line.offer([replica("a", 2), replica("b", 4, port=2)])
    running = [line.enter() for _ in range(6)]
    granted = [it.granted.result().id for it in running]
    assert sorted(granted) == ["a", "a", "b", "b", "b", "b"]
    waiting = [line.enter() for _ in range(2)]
    line.release(running[-1], 1.0)
    assert [it.granted.done() for it in waiting] == [True, False]


async def test_a_waiter_that_left_is_passed_over() -> None:
    line = Line("m", 9, 9)
    first, second = line.enter(), line.enter()
    first.granted.cancel()
    line.offer([replica("a")])
    assert second.granted.result().id == "a"
    line.leave(first)
    line.leave(second)
    assert (line.running, line.waiting) == (0, 0)


async def test_a_suspect_is_passed_over_until_its_address_changes() -> None:
    line = Line("m", 9, 9)
    line.offer([replica("a")])
    line.suspect(replica("a"))
    line.offer([replica("a")])
    waiter = line.enter()
    assert not waiter.granted.done()
    line.offer([replica("a", port=2)])
    assert waiter.granted.done()


async def test_only_those_who_waited_long_enough_without_a_replica_fail() -> None:
    line = Line("m", 9, 9)
    old = line.enter()
    old.since -= 60
    young = line.enter()
    line.fail(Unavailable("loading"), 60)
    assert isinstance(old.granted.exception(), Unavailable)
    assert not young.granted.done()


async def test_waiting_for_a_slot_does_not_count_as_waiting_for_a_load() -> None:
    line = Line("m", 9, 9)
    line.offer([replica("a")])
    line.enter()
    waiter = line.enter()
    waiter.since -= 60
    line.ready_at -= 60
    line.offer([replica("a")])
    line.fail(Unavailable("loading"), 60)
    assert not waiter.granted.done()


async def test_one_that_had_a_place_goes_on_waiting_for_the_same_load() -> None:
    """However often a replica has been ready meanwhile."""
    line = Line("m", 9, 9)
    first = line.enter()
    first.since -= 60
    line.offer([replica("a")])
    line.suspect(replica("a"))
    line.release(first)
    again, new = line.enter(since=first.since), line.enter()
    line.fail(Unavailable("loading"), 60)
    assert isinstance(again.granted.exception(), Unavailable)
    assert not new.granted.done()


async def test_one_that_had_waited_for_its_place_has_as_long_as_others_for_a_load() -> None:
    line = Line("m", 9, 9)
    line.offer([replica("a")])
    running = line.enter()
    waiter = line.enter()
    waiter.since -= 60
    line.offer([replica("a")])
    line.release(running)
    line.suspect(replica("a"))
    line.release(waiter)
    again = line.enter(since=waiter.since)
    line.fail(Unavailable("loading"), 60)
    assert not again.granted.done()


def test_least_loaded_goes_by_the_share_of_slots() -> None:
    small, large = replica("small", 2), replica("large", 10)
    assert least_loaded([small, large], {"small": 1, "large": 4}) == large
    assert least_loaded([small, large], {"small": 0, "large": 4}) == small
    assert least_loaded([small, large], {"small": 2, "large": 10}) is None


# --- projects ---------------------------------------------------------------------------------------------


async def test_a_project_with_one_request_waits_for_no_more_than_one_of_hundreds() -> None:
    line = Line("m", 999, 999)
    line.offer([replica("a", 2)])
    running = [line.enter("many") for _ in range(2)]
    many = [line.enter("many") for _ in range(300)]
    single = line.enter("single")
    line.release(running[0])
    assert single.granted.done()
    assert not any(it.granted.done() for it in many)


async def test_projects_get_as_many_slots_and_take_turns() -> None:
    line = Line("m", 99, 99)
    waiting = {name: [line.enter(name) for _ in range(6)] for name in ("a", "b", "c")}
    line.offer([replica("r", 7)])
    assert [sum(it.granted.done() for it in of) for of in waiting.values()] == [3, 2, 2]


async def test_within_a_project_the_first_goes_first() -> None:
    line = Line("m", 99, 99)
    waiting = [line.enter("a") for _ in range(3)]
    line.offer([replica("r", 2)])
    assert [it.granted.done() for it in waiting] == [True, True, False]


async def test_the_last_free_slot_is_kept_for_another_that_asked_lately() -> None:
    line = Line("m", 99, 99)
    line.offer([replica("r", 3)])
    line.release(line.enter("other"))
    mine = [line.enter("mine") for _ in range(3)]
    assert [it.granted.done() for it in mine] == [True, True, False]
    assert line.enter("other").granted.done()


async def test_nobody_keeps_a_slot_from_a_project_that_is_alone_or_has_none() -> None:
    line = Line("m", 99, 99)
    line.offer([replica("r", 3)])
    assert all(line.enter("alone").granted.done() for _ in range(3))
    one = Line("m", 99, 99)
    one.offer([replica("r", 1)])
    one.release(one.enter("other"))
    assert one.enter("mine").granted.done()


async def test_a_full_line_refuses_the_newest_of_whoever_fills_it() -> None:
    line = Line("m", 3, 3)
    many = [line.enter("many") for _ in range(3)]
    single = line.enter("single")
    assert not single.granted.done()
    assert [it.granted.done() for it in many] == [False, False, True]
    told = many[2].granted.exception()
    assert isinstance(told, RateLimited)
    assert "3 of them this project's (--max-queue)" in told.message
    with pytest.raises(RateLimited):
        line.enter("many")
    assert line.waiting == 3


async def test_a_project_has_a_limit_of_its_own() -> None:
    line = Line("m", 9, 2)
    assert [line.enter("many") for _ in range(2)]
    with pytest.raises(RateLimited, match="max-project-queue"):
        line.enter("many")
    line.enter("other")
    assert line.waiting == 3


async def test_one_that_moved_and_left_takes_nobody_else_with_it() -> None:
    line = Line("m", 9, 9)
    first = line.enter("a")
    again = line.enter("a", since=first.since)
    line.leave(again)
    line.offer([replica("r")])
    assert first.granted.done()
