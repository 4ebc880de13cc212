"""A worker: it takes jobs, extends its leases, and never holds more jobs than it has slots."""

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s, now
from tutti.base.ids import new_id
from tutti.jobs.attempt import Attempt, Interruption, read_job
from tutti.jobs.claim import Claims, any_due, extend
from tutti.jobs.kind import Kind
from tutti.jobs.schedule import Schedule, scheduled_id
from tutti.store.db import Database
from tutti.store.records import JobRow

_STOP_S = 4.0
"""How long the attempts may take to hand their jobs back."""
_LONGEST_BEAT_S = 1.0
_LONGEST_POLL_S = 0.5
_NO_SCHEDULE: Schedule = MappingProxyType({})
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """The numbers of a worker. `slots` are as many as the limits of all kinds together, so that no kind waits
    for another's jobs. `lease_s` bounds how long a dead worker's job waits for another worker; `backoff_s` is
    the pause after a job's first transient error."""

    slots: int = 20
    lease_s: float = 15.0
    backoff_s: float = 2.0

    @property
    def beat_s(self) -> float:
        return min(_LONGEST_BEAT_S, self.lease_s / 3)

    @property
    def poll_s(self) -> float:
        return min(_LONGEST_POLL_S, self.lease_s / 6)

    def leased_until(self) -> float:
        """Return when a lease that begins now ends. The rest of `lease_s` is the time until another worker
        looks."""
        return now() + self.lease_s - self.poll_s


class Worker:
    """Runs jobs. Any number of workers, in any number of processes, share a database."""

    def __init__(
        self, database: Database, kinds: Iterable[Kind[Any]], pace: Pace, schedule: Schedule = _NO_SCHEDULE
    ) -> None:
        self._database = database
        self._kinds: Mapping[str, Kind[Any]] = {kind.name: kind for kind in kinds}
        self._pace = pace
        self._schedule = schedule
        self._claims = Claims(database, self._kinds.values())
        self._attempts: dict[Attempt, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._stopping = False

    async def run(self, idle_s: float = math.inf) -> None:
        """Run jobs until `stop`, or until there has been nothing to do for `idle_s`. The jobs at hand are
        handed back when it is stopped or cancelled."""
        beating = asyncio.create_task(self._keep_leases())
        beating.add_done_callback(lambda _: self.stop())  # without it nothing here is safe
        try:
            await self._take_jobs(idle_s)
        finally:
            await self._hand_back()
            beating.cancel()
            await asyncio.wait([beating])
        if not beating.cancelled():
            beating.result()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    # --- taking ---------------------------------------------------------------------------------------

    async def _take_jobs(self, idle_s: float) -> None:
        busy_at = monotonic_s()
        while not self._stopping:
            self._wake.clear()
            if await self._look() or self._attempts:
                busy_at = monotonic_s()
            elif monotonic_s() - busy_at >= idle_s:
                return
            await self._rest()

    async def _look(self) -> bool:
        """Take as many jobs as there are slots. Return True if there was anything to do."""
        try:
            if len(self._attempts) >= self._pace.slots or not await any_due(self._database):
                return False
            while len(self._attempts) < self._pace.slots and await self._take():
                pass
        except (SQLAlchemyError, OSError) as error:
            log.warning("the jobs cannot be read", extra={"cause": str(error)})
            return False
        return True

    async def _take(self) -> bool:
        async with self._database.begin() as session:
            row = await self._claims.next(session, new_id("lock"), self._pace.leased_until())
        if row is None:
            return False
        self._begin(row)
        return True

    def _begin(self, row: JobRow) -> None:
        kind = self._kinds.get(row.kind)
        every_s = self._schedule.get(row.kind) if row.id == scheduled_id(row.kind) else None
        attempt = Attempt(read_job(self._database, row, kind), kind, self._pace.backoff_s, every_s)
        task = self._attempts[attempt] = asyncio.create_task(attempt.live())
        task.add_done_callback(lambda task: self._ended(attempt, task))

    def _ended(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        self._attempts.pop(attempt)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt broke", extra={"job": attempt.job.id}, exc_info=error)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._pace.poll_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # --- keeping and giving back ----------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._pace.beat_s)
            try:
                await self._beat()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the leases cannot be extended", extra={"cause": str(error)})

    async def _beat(self) -> None:
        held = [attempt.job for attempt in self._attempts]
        if not held:
            return
        async with self._database.begin() as session:
            tokens = {job.id: job.lock_token for job in held}
            kept = await extend(session, tokens, self._pace.leased_until())
        for attempt in tuple(self._attempts):
            if attempt.job in held and kept.get(attempt.job.lock_token, True):
                attempt.interrupt(
                    Interruption.CANCELLED if attempt.job.lock_token in kept else Interruption.LOST
                )

    async def _hand_back(self) -> None:
        tasks = tuple(self._attempts.values())
        for attempt in tuple(self._attempts):
            attempt.interrupt(Interruption.STOPPING)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
