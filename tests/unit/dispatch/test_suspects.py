"""Requests during which an engine ended, and the others beside them."""

import asyncio
from pathlib import Path

import pytest

from tutti.base.errors import EndsEngine
from tutti.dispatch.suspects import Suspects, Watch
from tutti.engines.upstream import Refusal

JSON = "application/json"


async def dies(watch: Watch, body: bytes, address: str) -> None:
    async with watch.turn("/p", JSON, body):
        await watch.ended("/p", JSON, body, address)


async def test_one_during_which_an_engine_ended_twice_is_not_run_again() -> None:
    watch = Watch(Suspects(), "project")
    await dies(watch, b"poison", "one")
    with pytest.raises(EndsEngine):
        await dies(watch, b"poison", "two")
    with pytest.raises(EndsEngine):
        async with watch.turn("/p", JSON, b"poison"):
            raise AssertionError("it ran")


async def test_many_of_the_same_that_one_end_broke_off_count_once() -> None:
    watch = Watch(Suspects(), "project")
    for _ in range(8):
        await dies(watch, b"same", "one")


@pytest.mark.parametrize("answer", [None, Refusal(400, b"")])
async def test_whatever_was_answered_is_cleared(answer: Refusal | None) -> None:
    watch = Watch(Suspects(), "project")
    await dies(watch, b"body", "one")
    try:
        async with watch.turn("/p", JSON, b"body"):
            if answer is not None:
                raise answer
    except Refusal:
        pass
    await dies(watch, b"body", "two")


async def test_suspects_run_one_at_a_time_and_others_beside_them() -> None:
    watch, running, most = Watch(Suspects(), "project"), 0, 0
    bodies = [b"a", b"b", b"c"]
    for body in bodies:
        await dies(watch, body, "one")

    async def run(body: bytes) -> None:
        nonlocal running, most
        async with watch.turn("/p", JSON, body):
            running += 1
            most = max(most, running)
            async with watch.turn("/p", JSON, b"unsuspected"):
                await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*map(run, bodies))
    assert most == 1


async def test_a_project_answers_for_its_own_requests_only() -> None:
    suspects = Suspects()
    one, other = Watch(suspects, "one"), Watch(suspects, "other")
    await dies(one, b"body", "first")
    await dies(other, b"body", "second")
    with pytest.raises(EndsEngine):
        await dies(one, b"body", "third")


async def test_a_form_is_known_by_its_parts_whatever_stands_between_them(tmp_path: Path) -> None:
    watch, recording = Watch(Suspects(), "project"), tmp_path / "a.wav"
    recording.write_bytes(b"sound")

    async def upload(boundary: str, address: str) -> None:
        form = [f"--{boundary}\r\n".encode(), recording, f"\r\n--{boundary}--".encode()]
        await watch.ended("/t", f"multipart/form-data; boundary={boundary}", form, address)

    await upload("x1", "one")
    with pytest.raises(EndsEngine):
        await upload("x2", "two")


async def test_what_others_run_and_sessions_are_not_watched() -> None:
    watch = Watch(None, "project")
    for address in ("one", "two", "three"):
        await dies(watch, b"body", address)
