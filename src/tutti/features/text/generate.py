"""Asks engines for the choices of a request. A choice is one call with a lease of its own.

What comes out are deltas that have passed the choice's `ChoiceReader`, each with the index of its choice, in
the order in which the engines wrote them. The tally counts what the engine writes before that.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.model import Model
from tutti.dispatch.dispatch import Dispatch, Lease
from tutti.engines.answers import Delta
from tutti.engines.base import Engine
from tutti.engines.calls import ChatCall
from tutti.engines.dialects import TextDialect
from tutti.engines.upstream import Refusal
from tutti.features.text.calls import TextCall
from tutti.features.text.choice import ChoiceReader
from tutti.features.text.tally import TokenTally
from tutti.process import metrics

IndexedDeltas = Sequence[tuple[int, Delta]]
"""Deltas that were written at once, each with the index of its choice."""

_QUEUED = 64
"""Batches that may wait to be read before the choices stop writing."""


def generate(
    dispatch: Dispatch, calls: Sequence[TextCall], reader: Callable[[], ChoiceReader], tally: TokenTally
) -> AsyncGenerator[IndexedDeltas, None]:
    """Return the deltas of all choices as they are written.

    A choice that fails ends all of them, and so does closing this generator.
    """
    if len(calls) == 1:
        return _one(dispatch, 0, calls[0], reader(), tally)
    return _all(dispatch, calls, reader, tally)


def _ignore(_lease: Lease) -> None:
    pass


async def _one(
    dispatch: Dispatch,
    index: int,
    call: TextCall,
    reader: ChoiceReader,
    tally: TokenTally,
    leased: Callable[[Lease], None] = _ignore,
) -> AsyncGenerator[IndexedDeltas, None]:
    """Yield the deltas of one choice. Count what the engine writes, even if it does not reach the client."""
    complete = False
    async with dispatch.lease(call.model, tally.project_id) as lease:
        leased(lease)
        tally.begin(index)
        metrics.observe_overhead(lease.queued_s)
        try:
            async with aclosing(_engine_deltas(lease, call)) as batches:
                async for deltas in batches:
                    batch: list[tuple[int, Delta]] = []
                    for delta in deltas:
                        tally.add(index, delta)
                        complete = complete or delta.finish_reason is not None
                        batch += [(index, piece) for piece in reader.read(delta)]
                    if batch:
                        yield batch
        except Refusal as refusal:
            raise lease.engine.error(refusal) from refusal
    if not complete:
        raise Unavailable("The engine stopped before its answer was complete; try again.", retry_after_s=1)


async def _all(
    dispatch: Dispatch, calls: Sequence[TextCall], reader: Callable[[], ChoiceReader], tally: TokenTally
) -> AsyncGenerator[IndexedDeltas, None]:
    """Yield the deltas of several choices.

    As many choices run at once as a replica has slots, which the first lease tells. The others wait here, not
    in the queue, so that they don't delay other requests.
    """
    written: asyncio.Queue[IndexedDeltas | Exception | None] = asyncio.Queue(_QUEUED)
    turns = asyncio.Semaphore(1)
    first = asyncio.Event()

    def leased(lease: Lease) -> None:
        if not first.is_set():
            first.set()
            for _ in range(1, min(len(calls), lease.engine.slots(calls[0].model))):
                turns.release()

    async def write(index: int, call: TextCall) -> None:
        try:
            async with turns, aclosing(_one(dispatch, index, call, reader(), tally, leased)) as batches:
                async for batch in batches:
                    await written.put(batch)
            await written.put(None)
        except Exception as exc:  # raised anew where the choices are read
            await written.put(exc)

    tasks = [asyncio.create_task(write(index, call)) for index, call in enumerate(calls)]
    try:
        unfinished = len(tasks)
        while unfinished:
            item = await written.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                unfinished -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _engine_deltas(lease: Lease, call: TextCall) -> AsyncGenerator[Sequence[Delta], None]:
    """Return the engine's deltas. Dialects are written as generators: closing one closes the upstream."""
    dialect = _dialect(lease.engine, call.model)
    if isinstance(call, ChatCall):
        batches = dialect.chat(lease.upstream, call)
    else:
        batches = dialect.complete(lease.upstream, call)
    return cast(AsyncGenerator[Sequence[Delta], None], batches)


def _dialect(engine: Engine, model: Model) -> TextDialect:
    if engine.text is None:
        raise InvalidRequest(f"{model.name} runs on {engine.name}, which cannot write text.", param="model")
    return engine.text
