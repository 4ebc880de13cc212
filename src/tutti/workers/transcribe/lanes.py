"""Lanes: queues of computations with one thread each. The most urgent goes first, then the oldest."""

import asyncio
import heapq
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass
class Work:
    """The counts for GET /progress: `busy` is the number of running tasks, `done` grows with each step."""

    busy: int = 0
    done: int = 0

    @contextmanager
    def one(self) -> Generator[None]:
        """Count one piece of work as busy during the block."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1


class Lane:
    """A thread and the queue of those that wait for it."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._free = True
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    async def run(self, work: Callable[[], T], urgency: int = 0) -> T:
        """Run `work` in the thread and return its result. A lower `urgency` goes first.

        Whoever is cancelled while waiting never runs.
        """
        await self._wait_for_turn(urgency)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._next()

    async def _wait_for_turn(self, urgency: int) -> None:
        if self._free:
            self._free = False
            return
        self._count += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free = True
