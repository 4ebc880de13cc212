"""Models come up when they are asked for, stay up whatever happens to them, and leave when room is needed."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.support.fleet import Stack, ask, echo, say, stack, until
from tests.support.patience import limit
from tests.support.postgres import empty_database, postgres_url
from tests.support.processes import gone

from tutti.base.errors import LoadFailed, NotFound, RateLimited, Unavailable
from tutti.base.model import Model, ModelFile, Source
from tutti.meeting.wants import RETRY_FAILED_S
from tutti.store.records import Node, Replica, Want

STREAM = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "%s"}]}'
ROOM_FOR_ONE = 150_000_000
ROOM_FOR_TWO = 250_000_000


def large(name: str, **options: float) -> Model:
    """About 100 MB: 20 of the program, and 80 that it takes for this purpose."""
    return echo(name, options={"memory_bytes": 80_000_000, **options})


async def test_a_model_loads_on_first_use_and_serves(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it:
        found = await it.dispatch.resolve("echo", "")
        async with it.dispatch.lease(found) as lease:
            assert await ask(lease, "one two") == "one two"
            assert lease.queued_s > 0
        replica = await it.replica(model)
        assert replica is not None
        assert replica.state == "ready"
        pids = it.pids(model)
    await gone(pids)


async def test_unknown_names_are_told_with_what_comes_near(tmp_path: Path) -> None:
    async with stack(tmp_path, echo("meta/llama-small"), aliases={"gpt-*": "meta/llama-smal"}) as it:
        with pytest.raises(NotFound, match=r"Did you mean meta/llama-small") as caught:
            await it.dispatch.resolve("meta/lama-small", "")
        assert caught.value.param == "model"
        with pytest.raises(NotFound, match=r"llama-smal, for which gpt-4o is an alias\. Did you"):
            await it.dispatch.resolve("gpt-4o", "")


async def test_requests_beyond_the_slots_wait_in_order_and_beyond_the_queue_are_refused(
    tmp_path: Path,
) -> None:
    model = echo(options={"slots": 1})
    order: list[int] = []
    refused = asyncio.Event()

    async def one(number: int) -> None:
        async with it.dispatch.lease(model) as lease:
            await refused.wait()
            await ask(lease)
            order.append(number)

    async with stack(tmp_path, model, max_queue=3) as it:
        await say(it, model)
        line = it.dispatch.lines.line(model)
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(one(number)))
            await until(lambda: line.running + line.waiting == len(tasks))
        with pytest.raises(RateLimited) as caught:
            await say(it, model)
        assert caught.value.headers()["retry-after"].isdigit()
        refused.set()
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3]


async def test_a_waiter_that_goes_away_leaves_the_queue(tmp_path: Path) -> None:
    model = echo(options={"slots": 1})
    async with stack(tmp_path, model, max_queue=1) as it, it.dispatch.lease(model) as held:
        line = it.dispatch.lines.line(model)
        waiter = asyncio.create_task(say(it, model))
        await until(lambda: line.waiting == 1)
        waiter.cancel()
        await asyncio.wait([waiter])
        second = asyncio.create_task(say(it, model))
        await until(lambda: line.waiting == 1)
        await ask(held)
        assert not second.done()
        second.cancel()
        await asyncio.wait([second])


async def test_leaving_a_stream_early_frees_the_engine_at_once(tmp_path: Path) -> None:
    model = echo(options={"tokens_per_s": 20})
    async with stack(tmp_path, model) as it:
        async with it.dispatch.lease(model) as lease:
            pieces = lease.upstream.stream("/v1/chat/completions", STREAM % b"[[tokens 500]] x")
            await anext(pieces)
            [runner] = it.fleet.runners
            assert await runner.busy()
            left_at = time.monotonic()
            await pieces.aclose()
        while await runner.busy():
            await asyncio.sleep(0.01)
        assert time.monotonic() - left_at < 10  # of the 25 s that it would have gone on


async def test_a_killed_engine_fails_what_it_was_doing_and_comes_back(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it:
        await say(it, model)
        [pid], [runner] = it.pids(model), it.fleet.runners
        running = asyncio.create_task(say(it, model, "[[sleep 60]] x"))
        await until(runner.busy)
        await asyncio.sleep(0.2)  # what breaks in its first 0.1 s is taken not to have been begun
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unavailable) as caught:
            await running
        assert caught.value.headers()["retry-after"] == "1"
        assert await say(it, model, "back") == "back"
        async with it.database.read() as session:
            assert await session.scalar(select(Replica.restarts)) == 1


async def test_a_break_in_the_middle_of_a_stream_is_told(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it, it.dispatch.lease(model) as lease:
        with pytest.raises(Unavailable):
            async for _ in lease.upstream.stream(
                "/v1/chat/completions", STREAM % b"[[crash 3]] [[tokens 9]] x"
            ):
                pass


async def test_a_request_that_ends_the_engine_is_told_so_and_not_sent_again(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it:
        with pytest.raises(Unavailable, match="while it was working on this request"):
            await say(it, model, "[[crash 2]] a b c d e")
        assert await say(it, model, "back") == "back"
        async with it.database.read() as session:
            assert await session.scalar(select(Replica.restarts)) == 1


async def test_a_request_that_finds_the_engine_gone_waits_for_its_return(tmp_path: Path) -> None:
    """Nothing was sent, so nothing is lost: the client learns nothing of it."""
    model = echo()
    async with stack(tmp_path, model) as it:
        await say(it, model)
        [pid] = it.pids(model)
        os.kill(pid, signal.SIGKILL)
        await gone([pid])
        assert await say(it, model, "still here") == "still here"


@pytest.mark.parametrize("way", ["stopped", "stuck"])
async def test_a_hung_engine_is_replaced(tmp_path: Path, way: str) -> None:
    model = echo()
    async with stack(tmp_path, model, hang_timeout_s=1) as it:
        await say(it, model)
        [pid] = it.pids(model)
        hanging = asyncio.create_task(say(it, model, "[[hang 1]] x" if way == "stuck" else "[[sleep 60]] x"))
        await asyncio.sleep(0.3)
        if way == "stopped":
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(hanging, limit(60))
        assert await say(it, model, "back") == "back"
        assert it.pids(model) != {pid}


async def test_a_slow_engine_that_makes_progress_is_left_alone(tmp_path: Path) -> None:
    """Who looks may be late himself: most of the timeout is for that."""
    model = echo(options={"tokens_per_s": 5})
    async with stack(tmp_path, model, hang_timeout_s=1.5) as it:
        await say(it, model, "one two three four five six seven eight nine ten eleven twelve")
        assert [runner.restarts for runner in it.fleet.runners] == [0]


async def test_a_model_that_never_starts_fails_with_its_last_words_until_wanted_again(tmp_path: Path) -> None:
    model = echo(options={"start_delay_s": -1})
    async with stack(tmp_path, model) as it:
        with pytest.raises(LoadFailed, match="sleep length must be non-negative") as caught:
            await say(it, model)
        assert caught.value.headers()["x-should-retry"] == "false"
        failed_at = await _column(it, model, Replica.changed_at)
        with pytest.raises(LoadFailed):
            await say(it, model)
        assert await _column(it, model, Replica.changed_at) == failed_at  # it was not tried again
        await it.catalog.add(echo())
        async with it.database.begin() as session:
            await session.execute(update(Replica).values(changed_at=Replica.changed_at - RETRY_FAILED_S))
        await asyncio.sleep(0.3)
        assert await say(it, echo(), "repaired") == "repaired"


async def test_a_model_larger_than_the_budget_fails_at_once(tmp_path: Path) -> None:
    model = echo(memory_bytes=ROOM_FOR_TWO)
    async with stack(tmp_path, model, memory_budget_bytes=ROOM_FOR_ONE) as it:
        with pytest.raises(LoadFailed, match=r"needs about 0\.2 GB of memory"):
            await say(it, model)


async def test_waiting_for_a_slow_load_ends_with_the_reason_and_advice(tmp_path: Path) -> None:
    model = echo(options={"start_delay_s": 30})
    async with stack(tmp_path, model, load_wait_s=0.5) as it:
        with pytest.raises(Unavailable, match="being loaded") as caught:
            await say(it, model)
        assert caught.value.headers() == {"x-should-retry": "true", "retry-after": "5"}


async def test_weights_are_pulled_on_first_use(tmp_path: Path) -> None:
    weights = tmp_path / "weights.json"
    weights.write_text("{}")
    files = (ModelFile(name="weights.json", sources=(Source(path=str(weights)),)),)
    model = echo(files=files)
    async with stack(tmp_path / "data", model) as it:
        assert not it.catalog.is_pulled(model)
        assert await say(it, model) == "hello"
        assert it.catalog.is_pulled(model)


async def test_weights_are_not_pulled_where_that_is_off(tmp_path: Path) -> None:
    files = (ModelFile(name="weights.json", sources=(Source(path="/nonexistent"),)),)
    model = echo(files=files)
    async with stack(tmp_path, model, pull_on_use=False) as it:
        with pytest.raises(LoadFailed, match="tutti pull echo"):
            await say(it, model)


async def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    first, second, third = (large(name) for name in ("first", "second", "third"))
    async with stack(tmp_path, first, second, third, memory_budget_bytes=ROOM_FOR_TWO) as it:
        for model in (first, second):
            await say(it, model)

        newer = set[float]()

        async def first_is_newer_twice() -> bool:
            """What is written each second has all that were used meanwhile, one row after the other: between
            the two rows even one that was used in the same second is newer."""
            await say(it, first)
            used_at = [await _column(it, model, Replica.used_at) for model in (first, second)]
            newer.update(used_at[:1] if used_at[0] > used_at[1] else ())
            return len(newer) > 1

        await until(first_is_newer_twice)
        await say(it, third)
        assert it.pids(first)
        assert not it.pids(second)


async def test_a_busy_model_finishes_before_it_makes_room(tmp_path: Path) -> None:
    busy, other = large("busy", tokens_per_s=10), large("other")
    async with stack(tmp_path, busy, other, memory_budget_bytes=ROOM_FOR_ONE) as it:
        await say(it, busy, "x")
        [runner] = it.fleet.runners
        running = asyncio.create_task(say(it, busy, "[[tokens 30]] x"))
        await until(runner.busy)
        assert await say(it, other, "my turn") == "my turn"
        assert running.done()
        assert len(running.result().split()) == 30


async def test_a_model_that_is_never_idle_does_not_keep_another_out(tmp_path: Path) -> None:
    busy, other = large("busy", tokens_per_s=10), large("other")
    async with stack(tmp_path, busy, other, memory_budget_bytes=ROOM_FOR_ONE, max_queue=64) as it:
        answers: list[str] = []

        async def keep_busy() -> None:
            while True:
                answers.append(await say(it, busy, "[[tokens 10]] x"))

        await say(it, busy)
        load = [asyncio.create_task(keep_busy()) for _ in range(2)]
        await asyncio.sleep(0.5)
        assert await asyncio.wait_for(say(it, other, "at last"), 45) == "at last"
        before = len(answers)
        await until(lambda: len(answers) > before)
        assert not any(task.done() for task in load)
        for task in load:
            task.cancel()
        await asyncio.wait(load)


async def test_two_models_alternate_in_the_room_of_one(tmp_path: Path) -> None:
    models = [large("left"), large("right")]
    async with stack(tmp_path, *models, memory_budget_bytes=ROOM_FOR_ONE) as it:
        for turn in range(4):
            assert await say(it, models[turn % 2], f"turn {turn}") == f"turn {turn}"
            assert len(it.pids(models[0]) | it.pids(models[1])) == 1


async def test_two_fleets_on_one_database_start_a_model_once(tmp_path: Path) -> None:
    models = [echo(f"model-{number}") for number in range(4)]
    url = postgres_url(await empty_database())
    async with (
        stack(tmp_path / "one", *models, database_url=url) as one,
        stack(tmp_path / "two", database_url=url) as two,
    ):
        await asyncio.gather(*(say(it, model) for it in (one, two, one) for model in models))
        async with one.database.read() as session:
            assert len((await session.scalars(select(Replica.id))).all()) == len(models)
        # Asked for once more in the moment in which it was taken up, a want stays until the next look.
        await until(lambda: _nothing_is_wanted(one))


async def test_what_an_earlier_life_left_behind_is_forgotten(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it:
        await say(it, model)
        async with it.database.begin() as session:
            await session.execute(update(Node).values(seen_at=Node.seen_at + 60))
            [node] = (await session.scalars(select(Node))).all()
            session.add(stale := Replica(
                id="replica-stale", node_id=node.id, name="stale", entry={}, state="ready",
                address="http://127.0.0.1:1", changed_at=0.0, used_at=0.0,
            ))  # fmt: skip
        assert stale.node_id == (tmp_path / "node").read_text()
    async with stack(tmp_path) as it:
        assert await it.dispatch.replicas() == []


async def test_a_node_that_others_forgot_reports_its_replicas_again(tmp_path: Path) -> None:
    model = echo()
    async with stack(tmp_path, model) as it:
        await say(it, model)
        async with it.database.begin() as session:
            for row in [*(await session.scalars(select(Node))), *(await session.scalars(select(Replica)))]:
                await session.delete(row)
        await until(lambda: _is_ready(it, model))
        assert [runner.restarts for runner in it.fleet.runners] == [0]


async def _is_ready(it: Stack, model: Model) -> bool:
    """As the database has it: what the dispatch knows may be a second old."""
    return await _column(it, model, Replica.state) == "ready"


async def _nothing_is_wanted(it: Stack) -> bool:
    async with it.database.read() as session:
        return (await session.scalars(select(Want.name))).all() == []


async def _column(it: Stack, model: Model, column: Any) -> Any:
    """Of its replica; None where there is none."""
    async with it.database.read() as session:
        return await session.scalar(select(column).where(Replica.name == model.name))
