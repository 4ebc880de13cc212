"""A job as its handler sees it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.jobs.args import A
from tutti.jobs.errors import Failed, LeaseLost
from tutti.store.db import Database
from tutti.store.records import JobEvent, JobRow


class Job(Generic[A]):
    """A job in the hands of one worker. `state` is what an earlier attempt saved, `attempt` counts from 1."""

    def __init__(self, database: Database, row: JobRow, args: A | None) -> None:
        self.database = database
        self.id = row.id
        self.project_id = row.project_id
        self.attempt = row.attempt
        self.state = dict(row.state)
        self.created_at = row.created_at
        self.lock_token = row.lock_token
        self.cancel_requested = row.cancel_requested
        self._args = args

    @property
    def args(self) -> A:
        """The arguments. Raises Failed if this version cannot read them."""
        if self._args is None:
            raise Failed("The job was written by another version of Tutti and cannot be read by this one.")
        return self._args

    def write(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Begin a transaction in which nobody else can take the job. Raises LeaseLost if somebody has. Every
        write of a handler goes through it."""
        return self._fenced()

    async def save(self, **state: Any) -> None:
        """Merge the values into `state`, and write it."""
        merged = {**self.state, **state}
        async with self.write() as session:
            await session.execute(update(JobRow).where(JobRow.id == self.id).values(state=merged))
        self.state = merged

    async def tell(self, **data: Any) -> None:
        """Append an event."""
        async with self.write() as session:
            session.add(JobEvent(job_id=self.id, at=now(), data=data))

    @asynccontextmanager
    async def _fenced(self) -> AsyncGenerator[AsyncSession]:
        async with self.database.begin() as session:
            held = (
                select(JobRow.id)
                .where(JobRow.id == self.id, JobRow.lock_token == self.lock_token, JobRow.status == "running")
                .with_for_update()
            )
            if await session.scalar(held) is None:
                raise LeaseLost(self.id)
            yield session
