"""Requests and tokens a minute, per key, over all API workers of all nodes.

Each worker counts for itself and adds its counts to the key's RateWindow every 0.2 s; the sum it gets back is
where it goes on from. So a limit can be exceeded by what the other workers admit in 0.2 s, and no request
waits for the database but a key's first after a pause. Keys without limits are never counted.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import ReturningInsert

from tutti.access.caller import Caller
from tutti.base.clock import now
from tutti.base.errors import RateLimited
from tutti.store.db import Database
from tutti.store.records import RateWindow

FLUSH_S = 0.2
CLOSE_S = 5.0
_IDLE_MINUTES = 15
"""How long a key is remembered: answers longer than this do not count."""

_NOT_SHARED = "rate limits not shared: the database cannot be reached"

log = logging.getLogger(__name__)


class LimitReached(RateLimited):
    """Also carries the `x-ratelimit-*` headers."""

    def __init__(self, message: str, limits: dict[str, str], retry_after_s: float) -> None:
        super().__init__(message, code="rate_limit_exceeded", retry_after_s=retry_after_s)
        self._limits = limits

    def headers(self) -> dict[str, str]:
        return {**super().headers(), **self._limits}


@dataclass
class _Window:
    """One key's minute: the sum of all workers as of the last flush, and what was counted here since."""

    minute: int
    requests: int = 0
    tokens: int = 0
    new_requests: int = 0
    new_tokens: int = 0
    asked: bool = False
    """It was looked at since the last flush, so the next one fetches the sum."""
    stale: bool = True
    """It was not, and the sum is old."""


class _Counts(NamedTuple):
    key_id: str
    minute: int
    requests: int
    tokens: int


class Limits:
    def __init__(self, database: Database, clock: Callable[[], float] = now) -> None:
        self._database = database
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._flusher: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._counted = asyncio.Event()
        self._cleared_minute = 0

    async def start(self) -> None:
        self._flusher = asyncio.create_task(self._keep_flushing())

    async def close(self) -> None:
        """Shares what is left."""
        self._closing.set()
        self._counted.set()
        if self._flusher is not None:
            await asyncio.wait([self._flusher], timeout=CLOSE_S)
            self._flusher.cancel()
        else:
            await self._try_flush()

    async def admit(self, caller: Caller) -> dict[str, str]:
        """Counts a request and returns the headers that say what is left; raises RateLimited."""
        if not caller.requests_per_minute and not caller.tokens_per_minute:
            return {}
        window = await self._window(caller.key_id)
        over = _over(caller, window)
        if over is None:
            window.new_requests += 1
        reset_s = self._reset_s()
        headers = _headers(caller, window, reset_s)
        if over is not None:
            raise LimitReached(over, headers, reset_s)
        return headers

    def spent(self, key_id: str, tokens: int) -> None:
        """Counts the tokens of an answer, which are known only when it is complete."""
        window = self._windows.get(key_id)
        if window is not None:
            self._roll(window)
            window.new_tokens += tokens
            self._counted.set()

    async def flush(self) -> None:
        """Adds what was counted to the database and reads the sums of all workers."""
        self._forget_idle()
        rows = sorted(_row(key_id, window) for key_id, window in self._windows.items() if _is_active(window))
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

    async def _window(self, key_id: str) -> _Window:
        window = self._windows.setdefault(key_id, _Window(self._minute()))
        self._roll(window)
        window.asked = True
        self._counted.set()
        if window.stale:
            await self._load(key_id, window)
        return window

    async def _load(self, key_id: str, window: _Window) -> None:
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
        """Seconds until the next minute begins: at least 1, at most 60."""
        return max(1, math.ceil(60 - self._clock() % 60))

    def _roll(self, window: _Window) -> None:
        """A new minute starts from nothing; what was not shared yet of the last one no longer matters."""
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


def _is_active(window: _Window) -> bool:
    return window.asked or bool(window.new_requests or window.new_tokens)


def _over(caller: Caller, window: _Window) -> str | None:
    if 0 < caller.requests_per_minute <= window.requests + window.new_requests:
        return f"The limit of {caller.requests_per_minute} requests a minute is reached."
    if 0 < caller.tokens_per_minute <= window.tokens + window.new_tokens:
        return f"The limit of {caller.tokens_per_minute} tokens a minute is reached."
    return None


def _headers(caller: Caller, window: _Window, reset_s: int) -> dict[str, str]:
    headers = {"x-ratelimit-reset": str(reset_s)}
    if caller.requests_per_minute:
        left = max(0, caller.requests_per_minute - window.requests - window.new_requests)
        headers["x-ratelimit-limit"] = str(caller.requests_per_minute)
        headers["x-ratelimit-remaining"] = str(left)
    if caller.tokens_per_minute:
        left = max(0, caller.tokens_per_minute - window.tokens - window.new_tokens)
        headers["x-ratelimit-limit-tokens"] = str(caller.tokens_per_minute)
        headers["x-ratelimit-remaining-tokens"] = str(left)
    return headers


def _row(key_id: str, window: _Window) -> _Counts:
    return _Counts(key_id, window.minute, window.new_requests, window.new_tokens)


def _add(database: Database, rows: list[_Counts]) -> ReturningInsert[str, int, int, int]:
    """One statement: adds the rows to the sums and returns these. Rows sorted by key cannot deadlock."""
    statement = database.insert(RateWindow).values([row._asdict() for row in rows])
    return statement.on_conflict_do_update(
        index_elements=["key_id", "minute"],
        set_={
            "requests": RateWindow.requests + statement.excluded.requests,
            "tokens": RateWindow.tokens + statement.excluded.tokens,
        },
    ).returning(RateWindow.key_id, RateWindow.minute, RateWindow.requests, RateWindow.tokens)
