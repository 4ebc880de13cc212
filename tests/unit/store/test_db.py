"""Transactions, on SQLite and PostgreSQL."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, text
from tests.support.patience import limit

from tutti.base.errors import Unavailable
from tutti.base.settings import Settings
from tutti.store.db import Database, async_url, database_url
from tutti.store.records import Organization, RateWindow


def organization(name: str) -> Organization:
    return Organization(id=name, name=name, created_at=1.5)


async def names(database: Database) -> set[str]:
    async with database.read() as session:
        return set(await session.scalars(select(Organization.name))) - {"default"}


async def test_a_transaction_is_committed_on_leaving(database: Database) -> None:
    async with database.begin() as session:
        session.add(organization("one"))
    assert await names(database) == {"one"}


async def test_a_transaction_is_rolled_back_on_an_error(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.begin() as session:
            session.add(organization("one"))
            await session.flush()
            raise KeyError
    assert await names(database) == set()


async def test_what_is_written_while_reading_is_lost(database: Database) -> None:
    async with database.read() as session:
        session.add(organization("one"))
        await session.flush()
    assert await names(database) == set()


async def test_records_can_be_used_after_the_transaction(database: Database) -> None:
    async with database.begin() as session:
        record = organization("one")
        session.add(record)
    assert record.name == "one"
    async with database.read() as session:
        found = await session.get(Organization, "one")
    assert found is not None and found.created_at == 1.5


async def test_concurrent_writers_lose_nothing(database: Database) -> None:
    """Two pools, as in two processes; each transaction reads and then writes."""
    other = await Database.open(database.url)
    async with database.begin() as session:
        session.add(RateWindow(key_id="k", minute=1, requests=0, tokens=0))

    async def add(on: Database) -> None:
        for _ in range(20):
            async with on.begin() as session:
                window = await session.get(RateWindow, ("k", 1), with_for_update=True)
                assert window is not None
                window.requests += 1

    await asyncio.gather(*(add(on) for on in (database, other) for _ in range(3)))
    await other.close()
    async with database.read() as session:
        assert await session.scalar(select(RateWindow.requests)) == 120


async def test_a_cancelled_transaction_frees_its_lock(database: Database) -> None:
    """As when a client leaves: at any point of the transaction, in many of them."""

    async def write(number: int) -> None:
        async with database.begin() as session:
            session.add(organization(str(number)))
            await session.flush()
            await session.scalars(select(Organization.name))

    for number in range(40):
        task = asyncio.create_task(write(number))
        await asyncio.sleep(number * 0.0003)
        task.cancel()
        await asyncio.wait([task])
    async with asyncio.timeout(limit(60)):
        await write(1000)
    assert "1000" in await names(database)


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.begin() as session:
        session.add(organization("one"))
        await session.flush()
        async with asyncio.timeout(limit(60)):
            assert await names(database) == set()


async def test_more_requests_than_connections_are_served(database: Database) -> None:
    assert await asyncio.gather(*(names(database) for _ in range(100))) == [set()] * 100


async def test_sqlite_is_opened_for_several_processes(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/tutti.db")
    async with database.read() as session:
        assert await session.scalar(text("PRAGMA synchronous")) == 1
        assert await session.scalar(text("PRAGMA busy_timeout")) == 30_000
    await database.close()


@pytest.mark.parametrize("kind", ["postgresql"])
async def test_postgresql_ends_a_transaction_whose_process_was_stopped(database: Database) -> None:
    async with database.read() as session:
        assert await session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10s"


async def test_an_unreachable_database_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="opened") as caught:
        await Database.open("postgresql://me:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in caught.value.message
    assert "me:***@127.0.0.1:1/db" in caught.value.message


def test_the_state_is_in_the_data_directory_unless_a_database_is_named(tmp_path: Path) -> None:
    assert database_url(Settings(data_dir=tmp_path)) == f"sqlite+aiosqlite:///{tmp_path}/tutti.db"
    named = Settings(data_dir=tmp_path, database_url="postgres://a:b%40c@h:5/d?sslmode=require")
    assert database_url(named) == "postgresql+asyncpg://a:b%40c@h:5/d?ssl=require"


def test_only_sqlite_and_postgresql_are_known() -> None:
    with pytest.raises(ValueError, match=r"mysql://a:\*\*\*@h/d"):
        async_url("mysql://a:b@h/d")
