"""Records rows in the order of the data while several are judged at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tutti.base.clock import monotonic_s
from tutti.features.evaluations.rows import Read, Row
from tutti.jobs.ledger import Ledger

PART = "rows"
"""The part of the ledger that holds the lines of the result file."""
_CHUNK_ROWS = 32
_CHUNK_S = 1.0
_MOST_BYTES = 32 * 1024 * 1024
"""Bytes in the file of the rows under way. In memory they take many times as much."""

Underway = deque[tuple[asyncio.Task[bytes], int]]


async def record_all(
    ledger: Ledger,
    data: AsyncIterator[Read],
    judge: Callable[[int, Row], Coroutine[Any, Any, bytes]],
    *,
    at_once: int,
) -> None:
    """Have all rows judged, and record their lines. Recorded are always the first rows of the data: so the
    result file is in its order, and a worker that takes over goes on behind them. `judge` takes the number of
    a row, from 1, and its fields."""
    underway: Underway = deque()
    recorder = _Recorder(ledger, underway)
    number, done_before = 0, ledger.done
    try:
        async for row in data:
            number += 1
            if number > done_before:
                underway.append((asyncio.create_task(judge(number, row.fields)), row.size_bytes))
                await recorder.make_room(at_once)
        await recorder.make_room(1)
        await recorder.record()
    finally:
        tasks = [task for task, _ in underway]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Recorder:
    """Holds the lines of rows that are done until there are enough for a chunk, or for a second."""

    def __init__(self, ledger: Ledger, underway: Underway) -> None:
        self._ledger = ledger
        self._underway = underway
        self._lines: list[bytes] = []
        self._since = monotonic_s()

    async def make_room(self, room: int) -> None:
        """Wait until fewer rows than `room` are under way, and not more bytes than there may be."""
        while len(self._underway) >= room or sum(size for _, size in self._underway) > _MOST_BYTES:
            await asyncio.wait([self._underway[0][0]], timeout=_CHUNK_S)
            while self._underway and self._underway[0][0].done():
                self._lines.append(self._underway.popleft()[0].result())
            if len(self._lines) >= _CHUNK_ROWS or monotonic_s() - self._since >= _CHUNK_S:
                await self.record()

    async def record(self) -> None:
        lines, self._lines, self._since = self._lines, [], monotonic_s()
        if lines:
            first = self._ledger.done
            data = b"".join(lines)
            await self._ledger.append(range(first, first + len(lines)), {PART: data}, {})
