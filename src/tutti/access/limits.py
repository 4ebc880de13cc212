"""Requests and tokens a minute, per key, over all API workers of all nodes.

Each worker counts for itself and adds its counts to the key's RateWindow every 0.2 s; from then on it counts
from the sum that it gets back. So a limit can be exceeded by the requests that other workers admit in 0.2 s,
and no request waits for the database but a key's first after a pause. Keys without limits are never counted.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningInsert

from tutti.access.caller import Caller
from tutti.access.window import LimitReached, Window, headers_of, is_active, limit_reached
from tutti.base.clock import now
from tutti.store.db import Database
from tutti.store.records import RateWindow

FLUSH_S = 0.2
CLOSE_S = 5.0
_IDLE_MINUTES = 15
"""How long a key is remembered: tokens of answers that take longer do not count."""

_NOT_SHARED = "rate limits not shared: the database cannot be reached"

log = logging.getLogger("tutti.limits")  # `tutti.access` is the access log


class _Counts(NamedTuple):
    key_id: str
    minute: int
    requests: int
    tokens: int


class Limits:
    """Counts the requests and tokens of keys with limits, and refuses requests above them."""

    def __init__(self, database: Database, clock: Callable[[], float] = now) -> None:
        self._database = database
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._flusher: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._counted = asyncio.Event()
        self._cleared_minute = 0

    async def start(self) -> None:
        self._flusher = asyncio.create_task(self._keep_flushing())

    async def close(self) -> None:
        """Stop the flushing, and share the counts that are left."""
        self._closing.set()
        self._counted.set()
        if self._flusher is not None:
            await asyncio.wait([self._flusher], timeout=CLOSE_S)
            self._flusher.cancel()
        else:
            await self._try_flush()

    async def admit(self, caller: Caller) -> dict[str, str]:
        """Count a request, and return the headers that say how many are left. Raises RateLimited."""
        if not caller.requests_per_minute and not caller.tokens_per_minute:
            return {}
        window = await self._window(caller.key_id)
        over = limit_reached(caller, window)
        if over is None:
            window.new_requests += 1
        reset_s = self._reset_s()
        headers = headers_of(caller, window, reset_s)
        if over is not None:
            raise LimitReached(over, headers, reset_s)
        return headers

    def spent(self, key_id: str, tokens: int) -> None:
        """Count the tokens of an answer, which are known only when it is complete."""
        window = self._windows.get(key_id)
        if window is not None:
            self._roll(window)
            window.new_tokens += tokens
            self._counted.set()

    async def flush(self) -> None:
        """Add the new counts to the database, and read the sums of all workers."""
        self._forget_idle()
        rows = sorted(_row(key_id, window) for key_id, window in self._windows.items() if is_active(window))
        for window in self._windows.values():
            window.asked, window.stale = False, True
        if not rows:
            return
        for added, total in zip(rows, await self._share(rows), strict=True):
            window = self._windows[added.key_id]
            window.stale = False
            if window.minute == added.minute:  # or else it ended while the sums were on their way
                window.requests, window.tokens = total.requests, total.tokens
                window.new_requests -= added.requests
                window.new_tokens -= added.tokens

    async def _share(self, rows: list[_Counts]) -> list[_Counts]:
        minute = self._minute()
        async with self._database.begin() as session:
            result = await session.execute(_add(self._database, rows))
            if minute != self._cleared_minute:
                await session.execute(delete(RateWindow).where(RateWindow.minute < minute - 1))
        self._cleared_minute = minute
        return sorted(_Counts(*row) for row in result.all())

    def _forget_idle(self) -> None:
        minute = self._minute()
        for key_id in [
            key_id for key_id, window in self._windows.items() if window.minute < minute - _IDLE_MINUTES
        ]:
            del self._windows[key_id]

    async def _window(self, key_id: str) -> Window:
        window = self._windows.setdefault(key_id, Window(self._minute()))
        self._roll(window)
        window.asked = True
        self._counted.set()
        if window.stale:
            await self._load(key_id, window)
        return window

    async def _load(self, key_id: str, window: Window) -> None:
        window.stale = False
        minute = window.minute
        try:
            async with self._database.read() as session:
                row = await session.get(RateWindow, (key_id, minute))
        except (SQLAlchemyError, OSError) as error:
            log.warning(_NOT_SHARED, extra={"cause": str(error)})
            return
        if row is not None and window.minute == minute:
            window.requests, window.tokens = row.requests, row.tokens

    def _minute(self) -> int:
        return int(self._clock() // 60)

    def _reset_s(self) -> int:
        """Return the seconds until the next minute begins: at least 1, at most 60."""
        return max(1, math.ceil(60 - self._clock() % 60))

    def _roll(self, window: Window) -> None:
        """Begin a new minute with nothing counted: counts of the last one that were not shared no longer
        matter."""
        minute = self._minute()
        if window.minute != minute:
            window.minute = minute
            window.requests = window.tokens = window.new_requests = window.new_tokens = 0

    async def _keep_flushing(self) -> None:
        while not self._closing.is_set():
            await self._counted.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._closing.wait()
            self._counted.clear()
            await self._try_flush()
            if any(not window.stale for window in self._windows.values()):
                self._counted.set()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except (SQLAlchemyError, OSError) as error:
            log.warning(_NOT_SHARED, extra={"cause": str(error)})


def _row(key_id: str, window: Window) -> _Counts:
    return _Counts(key_id, window.minute, window.new_requests, window.new_tokens)


def _add(database: Database, rows: list[_Counts]) -> ReturningInsert[str, int, int, int]:
    """Return one statement that adds the rows to the sums and returns these. Rows sorted by key cannot
    deadlock."""
    statement = database.insert(RateWindow).values([row._asdict() for row in rows])
    return statement.on_conflict_do_update(
        index_elements=["key_id", "minute"],
        set_={
            "requests": RateWindow.requests + statement.excluded.requests,
            "tokens": RateWindow.tokens + statement.excluded.tokens,
        },
    ).returning(RateWindow.key_id, RateWindow.minute, RateWindow.requests, RateWindow.tokens)
