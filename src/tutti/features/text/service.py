"""Runs a request's choices on engines. A choice is one call with a lease of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.model import Model
from tutti.dispatch.dispatch import Dispatch, Lease
from tutti.engines.answers import Delta
from tutti.engines.base import Engine
from tutti.engines.calls import ChatCall, CompletionCall
from tutti.engines.dialects import TextDialect
from tutti.engines.upstream import Refusal
from tutti.features.text.choice import Choice
from tutti.features.text.tally import Tally
from tutti.process import metrics

Call = ChatCall | CompletionCall
Batch = Sequence[tuple[int, Delta]]
"""What was written at once: deltas with the index of their choice."""

_TEXT_TYPES = frozenset({"chat", "language", "code", "moderation"})
_QUEUED = 64


def require_text(model: Model) -> None:
    if model.type not in _TEXT_TYPES:
        raise InvalidRequest(
            f"{model.name} is a model for {model.type}, which cannot write text: use a chat model.",
            param="model",
        )


def answer(
    dispatch: Dispatch, calls: Sequence[Call], choice: Callable[[], Choice], tally: Tally
) -> AsyncGenerator[Batch, None]:
    """All choices as they are written, and counted. One that fails ends them all, and so does closing this
    generator."""
    if len(calls) == 1:
        return _one(dispatch, 0, calls[0], choice(), tally)
    return _all(dispatch, calls, choice, tally)


def _ignore(_lease: Lease) -> None:
    pass


async def _one(
    dispatch: Dispatch,
    index: int,
    call: Call,
    choice: Choice,
    tally: Tally,
    leased: Callable[[Lease], None] = _ignore,
) -> AsyncGenerator[Batch, None]:
    """Counts what the engine writes, whether or not it gets as far as the client."""
    complete = False
    async with dispatch.lease(call.model, tally.project_id) as lease:
        leased(lease)
        tally.begin(index)
        metrics.observe_overhead(lease.queued_s)
        try:
            async with aclosing(_spoken(lease, call)) as batches:
                async for deltas in batches:
                    batch: list[tuple[int, Delta]] = []
                    for delta in deltas:
                        tally.add(index, delta)
                        complete = complete or delta.finish_reason is not None
                        batch += [(index, piece) for piece in choice.read(delta)]
                    if batch:
                        yield batch
        except Refusal as refusal:
            raise lease.engine.error(refusal) from refusal
    if not complete:
        raise Unavailable("The engine stopped before its answer was complete; try again.", retry_after_s=1)


async def _all(
    dispatch: Dispatch, calls: Sequence[Call], choice: Callable[[], Choice], tally: Tally
) -> AsyncGenerator[Batch, None]:
    """As many at once as a replica has slots, which the first lease tells; the rest wait here, out of the way
    of other requests."""
    written: asyncio.Queue[Batch | Exception | None] = asyncio.Queue(_QUEUED)
    turns = asyncio.Semaphore(1)
    first = asyncio.Event()

    def leased(lease: Lease) -> None:
        if not first.is_set():
            first.set()
            for _ in range(1, min(len(calls), lease.engine.slots(calls[0].model))):
                turns.release()

    async def write(index: int, call: Call) -> None:
        try:
            async with turns, aclosing(_one(dispatch, index, call, choice(), tally, leased)) as batches:
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


def _spoken(lease: Lease, call: Call) -> AsyncGenerator[Sequence[Delta], None]:
    """Dialects are written as generators, so that the upstream is closed with them."""
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
