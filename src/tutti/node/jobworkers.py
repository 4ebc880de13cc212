"""The job workers of this node: processes that are there only while there is work."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s
from tutti.jobs.claim import any_due
from tutti.jobs.schedule import Schedule, ensure_scheduled
from tutti.process.child import Child
from tutti.process.supervisor import Backoff, Pace
from tutti.store.db import Database

_LOOK_S = 1.0
_GRACE_S = 8.0
"""From SIGTERM to SIGKILL: for handing jobs back and writing what was counted."""
_PACE = Pace(first_s=0.1)
log = logging.getLogger(__name__)


class JobWorkers:
    """Starts `count` workers at once when a job is due; each leaves by itself. One that dies is replaced
    without waiting for a job to be due: those it had will be in a moment."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        count: int,
        database: Database,
        schedule: Schedule,
    ) -> None:
        self._argv = argv
        self._env = env
        self._count = count
        self._database = database
        self._schedule = schedule
        self._children: dict[Child, asyncio.Task[None]] = {}
        self._backoff = Backoff(_PACE)
        self._start_at: float | None = None
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """Send SIGTERM to each, and return when all have ended, at the latest after their grace."""
        self._looking.cancel()
        await asyncio.wait([self._looking])
        for child in self._children:
            child.terminate()
        await asyncio.gather(*self._children.values())

    def kill(self) -> None:
        self._looking.cancel()
        for child in self._children:
            child.kill()

    async def _keep_looking(self) -> None:
        scheduled = False
        while True:
            try:
                if not scheduled:
                    await ensure_scheduled(self._database, self._schedule)
                    scheduled = True
                if await self._are_needed():
                    await self._fill()
            except (SQLAlchemyError, OSError) as error:
                log.warning("no look at the jobs", extra={"cause": str(error)})
            await asyncio.sleep(_LOOK_S)

    async def _are_needed(self) -> bool:
        if self._start_at is not None:
            return monotonic_s() >= self._start_at
        return len(self._children) < self._count and await any_due(self._database)

    async def _fill(self) -> None:
        self._start_at = None
        while len(self._children) < self._count:
            child = await Child.start(self._argv, self._env, grace_s=_GRACE_S)
            self._children[child] = asyncio.create_task(self._watch(child, monotonic_s()))

    async def _watch(self, child: Child, since: float) -> None:
        status = await child.wait()
        self._children.pop(child)
        if status != 0 and not self._looking.done():
            pause_s = self._backoff.pause_s(monotonic_s() - since)
            self._start_at = monotonic_s() + pause_s
            log.warning("a job worker ended", extra={"status": status, "pause_s": pause_s})
