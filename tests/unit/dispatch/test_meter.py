"""Usage rows, on SQLite and PostgreSQL."""

import asyncio

import msgspec
from sqlalchemy import func, select, text
from tests.support.patience import limit

from tutti.dispatch.meter import FLUSH_ROWS, Meter, Served
from tutti.store.db import Database
from tutti.store.records import UsageRow

SERVED = Served(
    project_id="proj-default",
    key_id="key-1",
    model="m",
    operation="chat",
    status=200,
    prompt_tokens=10,
    completion_tokens=20,
    latency_s=1.5,
    first_token_s=0.25,
    created_at=1000.5,
)


async def count(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(UsageRow)) or 0


async def rename(database: Database, old: str, new: str) -> None:
    async with database.begin() as session:
        await session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_a_request_becomes_a_row(database: Database) -> None:
    meter = Meter(database)
    meter.record(SERVED)
    meter.record(msgspec.structs.replace(SERVED, first_token_s=None, status=503))
    await meter.close()
    async with database.read() as session:
        first, second = (await session.scalars(select(UsageRow).order_by(UsageRow.status))).all()
    assert first.id.startswith("use-")
    assert (first.project_id, first.key_id, first.model, first.operation) == (
        "proj-default", "key-1", "m", "chat",
    )  # fmt: skip
    assert (first.prompt_tokens, first.completion_tokens, first.status) == (10, 20, 200)
    assert (first.latency_ms, first.first_token_ms, first.created_at) == (1500, 250, 1000.5)
    assert (second.first_token_ms, second.status) == (None, 503)


async def test_rows_are_written_in_the_background(database: Database) -> None:
    meter = Meter(database)
    await meter.start()
    meter.record(SERVED)
    async with asyncio.timeout(limit(60)):
        while await count(database) != 1:
            await asyncio.sleep(0.02)
    await meter.close()


async def test_closing_writes_everything(database: Database) -> None:
    meter = Meter(database)
    await meter.start()
    for _ in range(5 * FLUSH_ROWS + 7):
        meter.record(SERVED)
    await meter.close()
    assert await count(database) == 5 * FLUSH_ROWS + 7


async def test_closing_right_after_a_full_batch_ends(database: Database) -> None:
    """The batch wakes the flusher in the same turn of the loop in which it is told to stop."""
    meter = Meter(database)
    await meter.start()
    await asyncio.sleep(0.01)
    for _ in range(FLUSH_ROWS):
        meter.record(SERVED)
    async with asyncio.timeout(limit(60)):
        await meter.close()
    assert await count(database) == FLUSH_ROWS


async def test_nothing_is_lost_or_doubled_while_the_database_is_down(database: Database) -> None:
    meter = Meter(database)
    await rename(database, "usage", "away")
    await meter.start()
    for _ in range(3 * FLUSH_ROWS):
        meter.record(SERVED)
    await asyncio.sleep(0.5)
    await rename(database, "away", "usage")
    meter.record(SERVED)
    await meter.close()
    assert await count(database) == 3 * FLUSH_ROWS + 1


async def test_a_batch_whose_commit_was_not_confirmed_is_not_counted_twice(database: Database) -> None:
    meter = Meter(database)
    meter.record(SERVED)
    waiting = meter._rows.copy()
    await meter.flush()
    meter._rows.extend(waiting)
    await meter.close()
    assert await count(database) == 1


async def test_memory_is_bounded_while_the_database_is_down(database: Database) -> None:
    meter = Meter(database, max_rows=300)
    await rename(database, "usage", "away")
    for number in range(1000):
        meter.record(msgspec.structs.replace(SERVED, prompt_tokens=number))
    await rename(database, "away", "usage")
    await meter.close()
    async with database.read() as session:
        kept = sorted(await session.scalars(select(UsageRow.prompt_tokens)))
    assert kept == list(range(700, 1000))


async def test_the_limits_hear_of_tokens_at_once(database: Database) -> None:
    heard: list[tuple[str, int]] = []
    meter = Meter(database, lambda key_id, tokens: heard.append((key_id, tokens)))
    meter.record(SERVED)
    assert heard == [("key-1", 30)]
    await meter.close()
