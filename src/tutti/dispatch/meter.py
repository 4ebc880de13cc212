"""The usage of served requests, for reports: queued in memory, written in batches."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.ids import new_id
from tutti.process import metrics
from tutti.store.db import Database
from tutti.store.records import UsageRow

FLUSH_S = 0.5
"""How long a row may wait for other rows to be written with."""
FLUSH_ROWS = 200
CLOSE_S = 5.0
"""How long `close` keeps trying to write while the database is down."""
MAX_ROWS = 50_000
"""The most rows kept while the database is down; then the oldest are dropped."""

_TRIED_AGAIN = frozenset({429, 499, 503, 504})

log = logging.getLogger(__name__)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One answered request; `status` is the HTTP status, `created_at` Unix seconds when it arrived."""

    project_id: str
    key_id: str
    model: str
    operation: str
    status: int
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    first_token_s: float | None
    created_at: float


class Meter:
    """Records served requests. `spent` is called at once with key id and tokens of every request, for the
    rate limits. With `background`, answers after which the job tries again are not counted: the client never
    hears of them."""

    def __init__(
        self,
        database: Database,
        spent: Callable[[str, int], None] | None = None,
        max_rows: int = MAX_ROWS,
        *,
        background: bool = False,
    ) -> None:
        self._database = database
        self._spent = spent
        self._background = background
        self._max_rows = max_rows
        self._rows: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._closing = False
        self._flusher: asyncio.Task[None] | None = None

    def record(self, served: Served) -> None:
        """Add the request to the metrics and to the usage reports."""
        tokens = served.prompt_tokens, served.completion_tokens
        metrics.observe_served(served.model, *tokens, served.latency_s, served.first_token_s)
        if self._background and served.status in _TRIED_AGAIN:
            return
        if self._spent is not None:
            self._spent(served.key_id, served.prompt_tokens + served.completion_tokens)
        # The id is made here, so that a batch whose commit was lost on the way can be written again.
        self._rows.append(_row(new_id("use"), served))
        self._some.set()
        if len(self._rows) >= FLUSH_ROWS:
            self._enough.set()
        if len(self._rows) > self._max_rows:
            self._rows.popleft()
            self._dropped += 1

    async def start(self) -> None:
        self._flusher = asyncio.create_task(self._keep_flushing())

    async def close(self) -> None:
        """Write the rows that are left, for at most CLOSE_S."""
        self._closing = True
        self._some.set()
        self._enough.set()
        try:
            async with asyncio.timeout(CLOSE_S):
                if self._flusher is not None:
                    await self._flusher
                while not await self._try_flush():  # noqa: ASYNC110 (there is no event to wait for)
                    await asyncio.sleep(FLUSH_S)
        except TimeoutError:
            log.error("usage lost: the database cannot be reached", extra={"rows": len(self._rows)})

    async def flush(self) -> None:
        while self._rows:
            batch = list(islice(self._rows, FLUSH_ROWS))
            async with self._database.begin() as session:
                await session.execute(_insert(self._database), batch)
            self._forget(batch)

    def _forget(self, batch: list[dict[str, Any]]) -> None:
        """Remove the written rows from the queue. Some may have been dropped at its left end meanwhile."""
        written = {row["id"] for row in batch}
        while self._rows and self._rows[0]["id"] in written:
            self._rows.popleft()

    async def _keep_flushing(self) -> None:
        while not self._closing:
            await self._some.wait()
            # not wait_for: in Python 3.11 it can swallow a cancellation
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._enough.wait()
            self._some.clear()
            self._enough.clear()
            if not await self._try_flush() and not self._closing:
                self._some.set()
                await asyncio.sleep(FLUSH_S)

    async def _try_flush(self) -> bool:
        try:
            await self.flush()
        except (SQLAlchemyError, OSError) as error:
            log.warning(
                "usage not written yet: the database cannot be reached",
                extra={"cause": str(error), "rows": len(self._rows), "dropped": self._dropped},
            )
            return False
        return True


def _row(row_id: str, served: Served) -> dict[str, Any]:
    return {
        "id": row_id,
        "project_id": served.project_id,
        "key_id": served.key_id,
        "model": served.model,
        "operation": served.operation,
        "status": served.status,
        "prompt_tokens": served.prompt_tokens,
        "completion_tokens": served.completion_tokens,
        "latency_ms": served.latency_s * 1000,
        "first_token_ms": None if served.first_token_s is None else served.first_token_s * 1000,
        "created_at": served.created_at,
    }


def _insert(database: Database) -> Any:
    return database.insert(UsageRow).on_conflict_do_nothing(index_elements=["id"])
