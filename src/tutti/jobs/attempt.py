"""One attempt at a job: from the claim to what becomes of it."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.jobs.args import Args
from tutti.jobs.errors import LeaseLost
from tutti.jobs.job import Job
from tutti.jobs.kind import Ending, Kind
from tutti.jobs.outcome import (
    OURS,
    HandedBack,
    Outcome,
    after_error,
    client_text,
    columns,
    is_outage,
    is_transient,
    pause_s,
)
from tutti.store.db import Database
from tutti.store.records import JobRow

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
"""The longest pause between two tries to end a job; its lease is kept meanwhile."""
log = logging.getLogger(__name__)


class Interruption(Enum):
    """The reason why an attempt is interrupted."""

    CANCELLED = auto()
    STOPPING = auto()
    LOST = auto()


class Attempt:
    """One attempt at a job. `every_s` is the interval of scheduled maintenance."""

    def __init__(
        self, job: Job[Any], kind: Kind[Any] | None, backoff_s: float, every_s: float | None
    ) -> None:
        self.job = job
        self._kind = kind
        self._backoff_s = backoff_s
        self._every_s = every_s
        self._interruption: Interruption | None = None
        self._work: asyncio.Future[None] | None = None
        self._ending = False
        self._leaving = asyncio.Event()

    async def live(self) -> None:
        """Run the attempt. Returns when the job has ended, is in the queue again, or belongs to another
        worker."""
        try:
            await self._write(await self._settle(await self._outcome()))
        except LeaseLost:
            log.info("a job went to another worker", extra=self._about())
        finally:
            if self._work is not None:
                self._work.cancel()

    def interrupt(self, why: Interruption) -> None:
        """Interrupt the work. A job that is ending can't be cancelled any more."""
        self.job.cancel_requested |= why is Interruption.CANCELLED
        if why is Interruption.CANCELLED and (self._ending or self._interruption is not None):
            return
        self._interruption = why
        if why is not Interruption.CANCELLED:
            self._leaving.set()
        if self._work is not None:
            self._work.cancel()

    # --- the work -------------------------------------------------------------------------------------

    async def _outcome(self) -> Outcome:
        kind = self._kind
        if kind is None:
            return Ending("failed", "This version of Tutti does not know this kind of job.")
        if self.job.cancel_requested:
            return Ending("cancelled")
        if self.job.attempt > kind.max_attempts:
            return Ending("failed", f"Gave up after {kind.max_attempts} attempts: each time its worker died.")
        error = await self._do(partial(kind.run, self.job))
        if error is None:
            return Ending("completed")
        return self._after_interruption() if self._interruption else self._after_error(kind, error)

    def _after_interruption(self) -> Outcome:
        if self._interruption is Interruption.LOST:
            raise LeaseLost(self.job.id)
        return Ending("cancelled") if self._interruption is Interruption.CANCELLED else HandedBack()

    def _after_error(self, kind: Kind[Any], error: BaseException) -> Outcome:
        self._log(error)
        return after_error(error, self.job.attempt, kind.max_attempts, self._backoff_s)

    async def _do(self, work: Callable[[], Awaitable[None]]) -> BaseException | None:
        """Do the work, and return the error that it ended with, or None. Raises LeaseLost."""
        if self._leaving.is_set():
            return asyncio.CancelledError()
        self._work = asyncio.ensure_future(work())
        await asyncio.wait([self._work])
        error = asyncio.CancelledError() if self._work.cancelled() else self._work.exception()
        if isinstance(error, LeaseLost):
            raise error
        return error

    # --- its end --------------------------------------------------------------------------------------

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Call the kind's `settle` until it succeeds, through any outage; if it makes a mistake, the job has
        failed."""
        self._ending = True
        tries = 0
        while self._kind is not None and isinstance(outcome, Ending):
            error = await self._do(partial(self._kind.settle, self.job, outcome))
            if error is None:
                break
            if self._leaving.is_set():
                return self._after_interruption()
            self._log(error)
            tries += 1
            if is_transient(error):
                await self._pause(error, tries)
            elif outcome.status == "failed":
                break
            else:
                outcome = Ending("failed", client_text(error))
        return outcome

    async def _write(self, outcome: Outcome) -> None:
        """Write the outcome: try until the database takes it, or gives the job to another worker."""
        kind = self._kind
        for tries in itertools.count(1):
            try:
                async with self.job.write() as session:
                    await self._end(session, kind, outcome)
                return
            except LeaseLost:
                raise
            except Exception as error:
                self._log(error)
                if is_outage(error):
                    await asyncio.sleep(_again_s(error, tries))
                elif isinstance(outcome, Ending) and outcome.status != "failed":
                    outcome = Ending("failed", OURS)
                else:
                    kind = None  # `ended` cannot even fail: the job ends without it

    async def _end(self, session: AsyncSession, kind: Kind[Any] | None, outcome: Outcome) -> None:
        if kind is not None and isinstance(outcome, Ending):
            await kind.ended(session, self.job, outcome)
        values = columns(outcome, self.job.attempt, self._every_s)
        await session.execute(update(JobRow).where(JobRow.id == self.job.id).values(**values))

    async def _pause(self, error: BaseException, tries: int) -> None:
        try:
            async with asyncio.timeout(_again_s(error, tries)):
                await self._leaving.wait()
        except TimeoutError:
            return

    def _log(self, error: BaseException) -> None:
        if is_transient(error):
            log.warning("a job met a transient error", extra={**self._about(), "cause": str(error)})
        elif client_text(error) == OURS:
            log.error("a job's handler made a mistake", extra=self._about(), exc_info=error)

    def _about(self) -> dict[str, Any]:
        return {
            "job": self.job.id,
            "kind": self._kind.name if self._kind else "unknown",
            "attempt": self.job.attempt,
        }


def _again_s(error: BaseException, tries: int) -> float:
    return min(_LONGEST_PAUSE_S, pause_s(error, tries, _FIRST_PAUSE_S))


def read_job(database: Database, row: JobRow, kind: Kind[Any] | None) -> Job[Any]:
    """Return the job of a row. Its `args` raise Failed if they cannot be read."""
    return Job(database, row, None if kind is None else _args(row, kind))


def _args(row: JobRow, kind: Kind[Any]) -> Args | None:
    newest = {field.name: field.default for field in msgspec.structs.fields(kind.args)}["version"]
    try:
        args = msgspec.convert(row.args, kind.args)
    except msgspec.ValidationError:
        return None
    return args if args.version <= newest else None
