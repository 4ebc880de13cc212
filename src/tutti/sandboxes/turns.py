"""A limit on how much runs at once, in fair turns: a project that wants much waits for itself."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    """A limit of `most` at once, and one fewer for any one project, so that another project can begin at
    once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, project_id: str) -> AsyncGenerator[None]:
        await self._take(project_id)
        try:
            yield
        finally:
            self._give(project_id)

    async def _take(self, project_id: str) -> None:
        if self._may(project_id):
            self._running[project_id] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((project_id, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(project_id)
            raise

    def _may(self, project_id: str) -> bool:
        return self._running.total() < self._most and self._running[project_id] < max(1, self._most - 1)

    def _give(self, project_id: str) -> None:
        self._running[project_id] -= 1
        self._running += Counter()  # drops the zeros
        waiting = [it for it in self._waiting if not it[1].done()]
        may = [it for it in waiting if self._may(it[0])]
        if may:  # the first in line of the project with the fewest running
            chosen = min(may, key=lambda it: self._running[it[0]])
            waiting.remove(chosen)
            self._running[chosen[0]] += 1
            chosen[1].set_result(None)
        self._waiting = deque(waiting)
