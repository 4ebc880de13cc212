"""What a job has finished of its items."""

import tracemalloc

import pytest
from tests.support.jobs import Work, put

from tutti.base.errors import Unavailable
from tutti.base.settings import Settings
from tutti.jobs.claim import Claims
from tutti.jobs.errors import LeaseLost
from tutti.jobs.job import Job
from tutti.jobs.ledger import Ledger
from tutti.store.blobs import Blobs
from tutti.store.db import Database
from tutti.store.records import JobRow


@pytest.fixture
def blobs(settings: Settings) -> Blobs:
    return Blobs.open(settings)


async def claimed(database: Database, token: str = "lock-1") -> Job[Work]:
    """The one job there is, also where another has it."""
    async with database.begin() as session:
        row = await Claims(database, ()).next(session, token, 0.0)
    assert row is not None
    return Job(database, row, Work())


async def text(ledger: Ledger, part: str) -> bytes:
    return b"".join([data async for data in ledger.stream(part)])


async def test_a_ledger_knows_what_earlier_attempts_have_done(database: Database, blobs: Blobs) -> None:
    await put(database)
    first = await Ledger.open(await claimed(database), blobs)
    await first.append({0, 1, 2, 9}, {"output": b"a\n", "error": b"x\n"}, {"tokens": 3})
    await first.append([4], {"output": b"bc\n"}, {"tokens": 4, "failed": 1})
    again = await Ledger.open(await claimed(database, "lock-2"), blobs)
    for ledger in (first, again):
        assert [item for item in range(12) if ledger.is_done(item)] == [0, 1, 2, 4, 9]
        assert ledger.done == 5
        assert ledger.counts == {"tokens": 7, "failed": 1}
        assert await text(ledger, "output") == b"a\nbc\n"
        assert ledger.size_bytes("output") == 5
        assert await text(ledger, "error") == b"x\n"
        assert await text(ledger, "nothing") == b""
    await again.append([3], {"output": b"d\n"}, {})
    assert await text(again, "output") == b"a\nbc\nd\n"


async def test_any_run_of_items_is_marked_and_nothing_beside_it(database: Database, blobs: Blobs) -> None:
    await put(database)
    ledger = await Ledger.open(await claimed(database), blobs)
    runs = [(1, 3), (6, 9), (16, 23), (31, 64), (67, 67), (70, 88)]
    for first, last in runs:
        await ledger.append(range(first, last + 1), {}, {})
    done = [item for first, last in runs for item in range(first, last + 1)]
    for it in (ledger, await Ledger.open(await claimed(database, "lock-2"), blobs)):
        assert [item for item in range(100) if it.is_done(item)] == done
        assert it.done == len(done)


async def test_an_item_is_done_once(database: Database, blobs: Blobs) -> None:
    await put(database)
    ledger = await Ledger.open(await claimed(database), blobs)
    await ledger.append([7], {"output": b"a"}, {})
    with pytest.raises(ValueError, match="done already"):
        await ledger.append([6, 7], {"output": b"b"}, {})
    assert await text(ledger, "output") == b"a"


async def test_a_stale_worker_adds_nothing_and_overwrites_nothing(database: Database, blobs: Blobs) -> None:
    await put(database)
    stale = await Ledger.open(await claimed(database), blobs)
    owner = await Ledger.open(await claimed(database, "lock-2"), blobs)
    await owner.append([1], {"output": b"right"}, {"n": 1})
    with pytest.raises(LeaseLost):
        await stale.append([1], {"output": b"wrong"}, {"n": 1})
    assert not stale.is_done(1)
    again = await Ledger.open(await claimed(database, "lock-3"), blobs)
    assert (await text(again, "output"), again.done) == (b"right", 1)


async def test_what_also_is_to_be_written_is_in_the_same_transaction(
    database: Database, blobs: Blobs
) -> None:
    id = await put(database)
    ledger = await Ledger.open(await claimed(database), blobs)

    async def also(session: object) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await ledger.append([1], {"output": b"a"}, {}, also)
    assert (await Ledger.open(await claimed(database, "lock-2"), blobs)).done == 0
    assert id


async def test_clearing_leaves_no_object(database: Database, blobs: Blobs) -> None:
    id = await put(database)
    ledger = await Ledger.open(await claimed(database), blobs)
    await ledger.append([1], {"output": b"a"}, {"n": 1})
    await blobs.put(f"proj-default/jobs/{id}/stale-0-output", b"left by a worker that lost the job")
    await ledger.clear()
    assert await blobs.list(f"proj-default/jobs/{id}/") == []
    assert (ledger.done, ledger.is_done(1), ledger.counts, ledger.size_bytes("output")) == (0, False, {}, 0)
    assert (await Ledger.open(await claimed(database, "lock-2"), blobs)).done == 0


async def test_a_broken_object_store_is_unavailable_and_nothing_is_recorded(
    database: Database, settings: Settings
) -> None:
    id = await put(database)
    blobs = Blobs.open(settings)
    folder = settings.data_dir / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "proj-default").write_text("no folder")
    ledger = await Ledger.open(await claimed(database), blobs)
    with pytest.raises(Unavailable):
        await ledger.append([1], {"output": b"a"}, {})
    assert not ledger.is_done(1)
    assert id


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_million_items_take_little_memory(database: Database, blobs: Blobs) -> None:
    await put(database)
    ledger = await Ledger.open(await claimed(database), blobs)
    for first in range(0, 1_000_000, 100_000):
        await ledger.append(range(first, first + 100_000), {"output": b"x"}, {"n": 100_000})
    tracemalloc.start()
    again = await Ledger.open(await claimed(database, "lock-2"), blobs)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.done == 1_000_000
    assert grown < 1_000_000


async def test_keys_carry_the_project(database: Database, blobs: Blobs) -> None:
    id = await put(database, project_id="proj-other")
    ledger = await Ledger.open(await claimed(database), blobs)
    await ledger.append([1], {"output": b"a"}, {})
    assert await blobs.list(f"proj-other/jobs/{id}/") != []
    async with database.read() as session:
        assert (await session.get(JobRow, id)).project_id == "proj-other"  # type: ignore[union-attr]
