"""Limits per key, shared by several API workers, on SQLite and PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import event, select
from tests.support.clock import Clock
from tests.support.patience import limit

from tutti.access.caller import Caller
from tutti.access.limits import Limits
from tutti.base.errors import RateLimited
from tutti.store.db import Database
from tutti.store.records import RateWindow

MINUTE = int(Clock.seconds) // 60


def caller(requests: int = 0, tokens: int = 0, key_id: str = "key-1") -> Caller:
    return Caller(key_id, "laptop", "proj-default", "org-default", requests, tokens)


async def admitted(limits: Limits, who: Caller, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            await limits.admit(who)
        except RateLimited:
            continue
        count += 1
    return count


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(database: Database, clock: Clock) -> Limits:
    return Limits(database, clock)


async def test_the_headers_say_what_is_left(limits: Limits) -> None:
    assert await limits.admit(caller(requests=3, tokens=100)) == {
        "x-ratelimit-limit": "3",
        "x-ratelimit-remaining": "2",
        "x-ratelimit-reset": "40",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "100",
    }
    limits.spent("key-1", 60)
    headers = await limits.admit(caller(requests=3, tokens=100))
    assert (headers["x-ratelimit-remaining"], headers["x-ratelimit-remaining-tokens"]) == ("1", "40")


async def test_only_limits_that_exist_have_headers(limits: Limits) -> None:
    assert set(await limits.admit(caller(requests=3))) == {
        "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"
    }  # fmt: skip
    assert set(await limits.admit(caller(tokens=3, key_id="key-2"))) == {
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset"
    }  # fmt: skip


async def test_the_request_above_the_limit_is_refused_until_the_minute_ends(
    limits: Limits, clock: Clock
) -> None:
    who = caller(requests=2)
    assert await admitted(limits, who, 5) == 2
    with pytest.raises(RateLimited, match="2 requests a minute") as caught:
        await limits.admit(who)
    headers = caught.value.headers()
    assert headers["retry-after"] == headers["x-ratelimit-reset"] == "40"
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-remaining"] == "0"
    clock.seconds += 40
    assert await admitted(limits, who, 5) == 2


async def test_spent_tokens_are_refused_until_the_minute_ends(limits: Limits, clock: Clock) -> None:
    who = caller(tokens=100)
    await limits.admit(who)
    limits.spent("key-1", 250)
    with pytest.raises(RateLimited, match="100 tokens a minute") as caught:
        await limits.admit(who)
    assert caught.value.headers()["x-ratelimit-remaining-tokens"] == "0"
    clock.seconds += 40
    assert await admitted(limits, who, 1) == 1


async def test_the_reset_is_a_whole_number_of_seconds_above_zero(limits: Limits, clock: Clock) -> None:
    for second in (0, 0.001, 29.5, 59, 59.999):
        clock.seconds = MINUTE * 60 + second
        assert 1 <= int((await limits.admit(caller(requests=99)))["x-ratelimit-reset"]) <= 60


async def test_keys_do_not_use_up_each_others_limits(limits: Limits) -> None:
    assert await admitted(limits, caller(requests=2), 5) == 2
    assert await admitted(limits, caller(requests=2, key_id="key-2"), 5) == 2


async def test_workers_share_a_limit(database: Database, clock: Clock) -> None:
    workers = [Limits(database, clock) for _ in range(3)]
    who = caller(requests=10, tokens=1000)
    assert [await admitted(worker, who, 3) for worker in workers] == [3, 3, 3]
    workers[0].spent("key-1", 400)
    for worker in workers:
        await worker.flush()
    headers = await workers[2].admit(who)
    assert (headers["x-ratelimit-remaining"], headers["x-ratelimit-remaining-tokens"]) == ("0", "600")
    for worker in workers:
        await worker.admit(caller(tokens=1000))
        await worker.flush()
        assert await admitted(worker, who, 5) == 0


async def test_a_worker_that_saw_nothing_of_a_key_for_a_while_asks_first(
    database: Database, clock: Clock
) -> None:
    idle, busy = Limits(database, clock), Limits(database, clock)
    who = caller(requests=10)
    await idle.admit(who)
    await idle.flush()
    await admitted(busy, who, 9)
    await busy.flush()
    await idle.flush()  # nothing to tell, and nobody asked
    assert await admitted(idle, who, 5) == 0


async def test_a_restarted_worker_goes_on_where_it_was(database: Database, clock: Clock) -> None:
    before = Limits(database, clock)
    await admitted(before, caller(requests=5), 4)
    await before.close()
    assert await admitted(Limits(database, clock), caller(requests=5), 5) == 1


async def test_a_flush_is_one_statement_for_all_keys(database: Database, limits: Limits) -> None:
    for number in range(20):
        await limits.admit(caller(requests=5, key_id=f"key-{number}"))
    await limits.flush()
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    for number in range(20):
        await limits.admit(caller(requests=5, key_id=f"key-{number}"))
    await limits.flush()
    assert len([statement for statement in statements if not statement.startswith("BEGIN")]) == 1
    await limits.flush()
    assert len([statement for statement in statements if statement.startswith("INSERT")]) == 1


async def test_a_key_without_limits_never_touches_the_database(database: Database, limits: Limits) -> None:
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    assert await limits.admit(caller()) == {}
    limits.spent("key-1", 100)
    await limits.flush()
    assert statements == []


async def test_what_was_counted_is_flushed_in_the_background(database: Database, clock: Clock) -> None:
    limits = Limits(database, clock)
    await limits.start()
    await limits.admit(caller(requests=5))
    limits.spent("key-1", 7)
    async with asyncio.timeout(limit(60)):
        while (await rows(database)) != [("key-1", MINUTE, 1, 7)]:
            await asyncio.sleep(0.05)
    await limits.close()


async def test_counts_of_past_minutes_are_deleted(database: Database, limits: Limits, clock: Clock) -> None:
    await limits.admit(caller(requests=5))
    await limits.flush()
    clock.seconds += 120
    await limits.admit(caller(requests=5))
    await limits.flush()
    assert await rows(database) == [("key-1", MINUTE + 2, 1, 0)]


async def test_tokens_of_a_long_answer_count_when_it_ends(limits: Limits, clock: Clock) -> None:
    who = caller(tokens=100)
    await limits.admit(who)
    clock.seconds += 600
    await limits.flush()
    limits.spent("key-1", 100)
    assert await admitted(limits, who, 1) == 0


async def test_while_the_database_is_down_each_worker_counts_alone(
    database: Database, limits: Limits
) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(RateWindow.metadata.drop_all)
    assert await admitted(limits, caller(requests=3), 5) == 3
    await limits.start()
    await asyncio.sleep(0.5)
    await limits.close()
    async with database.engine.begin() as connection:
        await connection.run_sync(RateWindow.metadata.create_all)
    await limits.flush()
    assert await rows(database) == [("key-1", MINUTE, 3, 0)]


async def rows(database: Database) -> list[tuple[str, int, int, int]]:
    columns = (RateWindow.key_id, RateWindow.minute, RateWindow.requests, RateWindow.tokens)
    async with database.read() as session:
        return [tuple(row) for row in (await session.execute(select(*columns))).all()]
