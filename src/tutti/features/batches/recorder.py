"""The recorder of a batch's results, which writes them in chunks: every 0.5 s, or when there are 64."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import monotonic_s
from tutti.base.errors import Unavailable
from tutti.features.batches.results import NO_TOKENS, Tokens
from tutti.jobs.job import Job
from tutti.jobs.ledger import Ledger
from tutti.store.blobs import Blobs
from tutti.store.records import Batch

T = TypeVar("T")
Part = Literal["output", "errors"]
OUTPUT: Part = "output"
ERRORS: Part = "errors"
FLUSH_S = 0.5
FLUSH_LINES = 64
_MOST_LINES = 4096
_MOST_BYTES = 64 * 1024 * 1024
_AGAIN_S = 1.0
_CLOSE_S = 2.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A result: `data` is the line of the file `part` for the input line `item`, which counts from 0."""

    item: int
    part: Part
    data: bytes
    tokens: Tokens = NO_TOKENS


class Recorder:
    """A queue of results to write. `run` is a task of its own, so that whoever is cancelled never cuts a
    write in two; `close` ends it. While the database or the object store can't be reached, results wait, and
    so do the tasks that add them."""

    def __init__(self, job: Job[Any], blobs: Blobs, ledger: Ledger) -> None:
        self._job = job
        self._blobs = blobs
        self._ledger = ledger
        self._results: list[Result] = []
        self._size_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._give_up_at = math.inf

    async def add(self, result: Result) -> None:
        """Queue the result, and wait until there is room for others."""
        self._results.append(result)
        self._size_bytes += len(result.data)
        if len(self._results) >= FLUSH_LINES:
            self._wake.set()
        while len(self._results) > _MOST_LINES or self._size_bytes > _MOST_BYTES:
            self._room.clear()
            self._wake.set()
            await self._room.wait()

    async def run(self) -> None:
        """Write results until `close`. Raise LeaseLost, or the error of an outage longer than `close`
        allows."""
        while not self._closing or self._results:
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_S):
                        await self._wake.wait()
            self._wake.clear()
            await self._flush()

    def close(self, within_s: float = math.inf) -> None:
        """Make `run` return when everything is written; in an outage, after `within_s` at the latest."""
        self._closing = True
        self._give_up_at = monotonic_s() + within_s
        self._wake.set()

    async def _flush(self) -> None:
        results, self._results, self._size_bytes = self._results, [], 0
        self._room.set()
        certain = True
        while results:
            try:
                if not certain:  # nobody knows whether the write that failed has come true
                    self._ledger = await Ledger.open(self._job, self._blobs)
                    results = [result for result in results if not self._ledger.is_done(result.item)]
                if results:
                    await self._append(results)
                return
            except (Unavailable, SQLAlchemyError, OSError) as error:
                if monotonic_s() > self._give_up_at:
                    raise
                log.warning("results cannot be written yet", extra={"job": self._job.id, "cause": str(error)})
                certain = False
                await asyncio.sleep(_AGAIN_S)

    async def _append(self, results: Sequence[Result]) -> None:
        parts: dict[str, list[bytes]] = {}
        for result in results:
            parts.setdefault(result.part, []).append(result.data)
        counts = _counts(results)

        async def also(session: AsyncSession) -> None:
            more = {name: getattr(Batch, name) + number for name, number in counts.items()}
            await session.execute(update(Batch).where(Batch.id == self._job.id).values(**more))

        joined = {part: b"".join(lines) for part, lines in parts.items()}
        await self._ledger.append([result.item for result in results], joined, counts, also)


async def recorded(recorder: Recorder, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and return its result when all that it recorded is written."""
    recording, working = asyncio.create_task(recorder.run()), asyncio.create_task(work)
    try:
        await asyncio.wait({recording, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await recording  # only an error ends the task before it is closed
        result = working.result()
        recorder.close()
        await asyncio.wait({recording})
        recording.result()
        return result
    finally:
        working.cancel()
        recorder.close(_CLOSE_S)
        await asyncio.wait({recording, working})
        for task in (recording, working):
            if not task.cancelled():
                task.exception()  # retrieved only: the first error is being raised already


def _counts(results: Sequence[Result]) -> Mapping[str, int]:
    """Return what to add to each column of the batch."""
    return {
        "completed_lines": sum(result.part == OUTPUT for result in results),
        "failed_lines": sum(result.part == ERRORS for result in results),
        "prompt_tokens": sum(result.tokens.prompt_tokens for result in results),
        "completion_tokens": sum(result.tokens.completion_tokens for result in results),
    }
