"""Keeping children running: a child that ends is started again, ever more slowly while it keeps ending."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tutti.base.clock import monotonic_s
from tutti.process.child import Child

Start = Callable[[], Awaitable[Child]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """The pauses between starts, in seconds: the first, the longest, and how long a run must last to begin
    again with the first."""

    first_s: float = 0.5
    longest_s: float = 30.0
    healthy_s: float = 60.0


class Backoff:
    """Doubles the pause after each run that was too short."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._ends = 0

    def pause_s(self, lasted_s: float) -> float:
        """Return how long to wait before the next start, after a run that lasted so long."""
        self._ends = 1 if lasted_s >= self._pace.healthy_s else self._ends + 1
        return min(self._pace.longest_s, self._pace.first_s * 2 ** min(self._ends - 1, 30))


class Supervisor:
    """Runs `count` children made by `start` until `stop`."""

    def __init__(self, name: str, start: Start, count: int, pace: Pace) -> None:
        self._name = name
        self._start = start
        self._pace = pace
        self._stopping = asyncio.Event()
        self._children: dict[int, Child] = {}
        self._all_started = asyncio.Event()
        self._count = count
        self._tasks = [asyncio.create_task(self._keep(slot)) for slot in range(count)]
        self.restarts = 0

    async def started(self) -> None:
        """Return when each child was started once. Raises the error that kept one from starting."""
        waiting = asyncio.create_task(self._all_started.wait())
        done, _ = await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Send SIGTERM to each child, and return when all have ended, at the latest after their grace."""
        self._stopping.set()
        for child in self._children.values():
            child.terminate()
        await asyncio.gather(*self._tasks)

    def kill(self) -> None:
        self._stopping.set()
        for child in self._children.values():
            child.kill()

    async def _keep(self, slot: int) -> None:
        backoff = Backoff(self._pace)
        while not self._stopping.is_set():
            began = monotonic_s()
            child = self._children[slot] = await self._start()
            if len(self._children) == self._count:
                self._all_started.set()
            if self._stopping.is_set():
                child.terminate()
            status = await child.wait()
            if not self._stopping.is_set():
                self.restarts += 1
                await self._pause(status, backoff.pause_s(monotonic_s() - began))

    async def _pause(self, status: int, pause_s: float) -> None:
        log.warning(
            "a child ended; starting it again",
            extra={"child": self._name, "status": status, "pause_s": pause_s},
        )
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return
