from sqlalchemy import update
from tests.support.databases import database, kind, migrated, settings
from tests.support.jobs import row

from tutti.store.db import Database
from tutti.store.records import JobRow

__all__ = ["database", "hurry", "kind", "migrated", "settings"]


async def hurry(database: Database, id: str, step_s: float = 0.0) -> None:
    """The next attempt's steps take so long: a first one may be too slow to end before a test is done with
    it, however late that comes. What was tried does not count: each stall of the machine is an attempt."""
    args = {**(await row(database, id)).args, "step_s": step_s}
    async with database.begin() as session:
        await session.execute(update(JobRow).where(JobRow.id == id).values(args=args, attempt=0))
