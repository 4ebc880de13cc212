"""Whose turn it is to compute: one thread a lane, the most urgent first, then the first come."""

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
    """For GET /progress: `done` moves with everything that gets done."""

    busy: int = 0
    done: int = 0

    @contextmanager
    def one(self) -> Generator[None]:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1


class Lane:
    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._free = True
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    async def run(self, work: Callable[[], T], urgency: int = 0) -> T:
        """Lower is more urgent. Who is cancelled while waiting never computes."""
        await self._turn(urgency)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._next()

    async def _turn(self, urgency: int) -> None:
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
