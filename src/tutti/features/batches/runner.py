"""Runs a batch's requests: as many at once as the model's replicas have slots, behind clients' requests.

A request that is refused for now (429, 503, 504) is tried again after 1, 2, 4, ... 60 s, TRIES times in all,
which takes about five minutes; then the refusal is its result. Tries while the model is being loaded don't
count: only the batch's deadline ends that. Once a model has answered nothing for OUT_S, each request gets one
try. A request that made way for a client's runs again, and that doesn't count either.
"""

import asyncio
from collections.abc import AsyncGenerator

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s, now
from tutti.dispatch.background import PREEMPTED
from tutti.features.batches.gate import Gate
from tutti.features.batches.lines import Line, read_line
from tutti.features.batches.overdue import end_overdue
from tutti.features.batches.recorder import ERRORS, OUTPUT, Recorder, Result
from tutti.features.batches.results import Error, answered, error_of, tokens_of, unanswered
from tutti.features.batches.service import BatchArgs
from tutti.http.context import Family
from tutti.http.inside import Answer, Inside
from tutti.jobs.job import Job
from tutti.jobs.ledger import Ledger
from tutti.platform import Platform
from tutti.store.records import Batch

TRIES = 10
OUT_S = 600.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_WATCH_S = 1.0
_OVERDUE_S = 2.0
_MOST_AT_ONCE = 512
_AHEAD = 16
"""How many more requests are read ahead, so that a free slot never waits for the file."""
_STREAMS = Error(
    "stream_not_supported", "A request of a batch cannot be streamed: leave out stream.", "stream"
)


class Runner:
    def __init__(
        self, platform: Platform, inside: Inside, job: Job[BatchArgs], batch: Batch, recorder: Recorder
    ) -> None:
        self._platform = platform
        self._inside = inside
        self._batch = batch
        self._recorder = recorder
        self._family: Family = job.args.family
        self._caller = job.args.caller(job.project_id)
        self._gate = Gate()
        self._underway = 0
        self._room = asyncio.Event()
        self._out_since: float | None = None

    async def run(self, lines: AsyncGenerator[bytes], ledger: Ledger) -> bool:
        """Run all requests that have no result yet. Return False if the deadline came first."""
        watching = asyncio.create_task(self._watch())
        feeding = asyncio.create_task(self._feed(lines, ledger))
        try:
            await asyncio.wait({watching, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
                return True
            watching.result()
            return False
        finally:
            watching.cancel()
            feeding.cancel()
            await asyncio.wait({watching, feeding})
            await lines.aclose()

    # --- how many at once, and how long -----------------------------------------------------------------

    async def _watch(self) -> None:
        last_look_s = monotonic_s()
        while (left_s := self._batch.deadline_at - now()) > 0:
            await self._gate.resize(await self._slots())
            if monotonic_s() - last_look_s > _OVERDUE_S:  # batches that wait do so for one that runs
                await end_overdue(self._platform)
                last_look_s = monotonic_s()
            await asyncio.sleep(min(_WATCH_S, left_s))

    async def _slots(self) -> int:
        """Return how many requests to run at once: a few more than the slots, so that a free slot has its
        next request at once. While no replica is ready it is one, whose request has a replica started."""
        try:
            model = await self._platform.catalog.find(self._batch.model, self._caller.project_id)
            slots = await self._platform.dispatch.slots(model) if model else 0
        except (SQLAlchemyError, OSError):
            return self._gate.slots
        return min(_MOST_AT_ONCE, slots + max(1, slots // 8))

    # --- the requests -----------------------------------------------------------------------------------

    async def _feed(self, lines: AsyncGenerator[bytes], ledger: Ledger) -> None:
        item = -1
        async with asyncio.TaskGroup() as group:
            async for data in lines:
                item += 1
                if not data.strip() or ledger.is_done(item):
                    continue
                self._underway += 1
                group.create_task(self._run_line(item, data)).add_done_callback(self._done)
                while self._underway >= self._gate.limit + _AHEAD:
                    self._room.clear()
                    await self._room.wait()

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._underway -= 1
        self._room.set()

    async def _run_line(self, item: int, data: bytes) -> None:
        line = read_line(data, self._batch.endpoint)
        if line.streams:
            await self._recorder.add(Result(item, ERRORS, unanswered(line.custom_id, _STREAMS)))
            return
        answer = await self._answer(line)
        part = OUTPUT if answer.status < 400 else ERRORS
        await self._recorder.add(Result(item, part, answered(line.custom_id, answer), tokens_of(answer)))

    async def _answer(self, line: Line) -> Answer:
        body = line.body_for(self._batch.model)
        tries, pause_s = 0, _FIRST_PAUSE_S
        while True:
            async with self._gate:
                answer = await self._inside.post(self._batch.endpoint, body, self._caller, self._family)
                code = error_of(answer).code if answer.status >= 400 else None
                if code == PREEMPTED:
                    self._gate.made_way()
                    continue
            if not _is_transient(answer, code):
                self._gate.succeeded()
                self._out_since = None
                return answer
            if code != "model_loading":
                tries += 1
                if tries >= TRIES or self._is_out():
                    return answer
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (tries - 1))
            await asyncio.sleep(pause_s)

    def _is_out(self) -> bool:
        """Return True if the model has answered nothing for OUT_S."""
        if self._out_since is None:
            self._out_since = monotonic_s()
        return monotonic_s() - self._out_since > OUT_S


def _is_transient(answer: Answer, code: str | None) -> bool:
    """Return True if the request may succeed later. Unlike clients, a batch also waits for a model that could
    not be loaded."""
    if answer.status < 400:
        return False
    return answer.headers.get("x-should-retry") == "true" or code == "model_load_failed"
