"""From a request's calls to the bytes of its answer, streamed or whole."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from tutti.engines.base import ChatCall, CompletionCall, Json
from tutti.features.text.bodies import Collected
from tutti.features.text.choice import Choice
from tutti.features.text.chunks import DONE, Ending, Frames
from tutti.features.text.safety import Guard
from tutti.features.text.service import Batch, answer
from tutti.features.text.shapes import Form
from tutti.features.text.tally import Tally
from tutti.serving.dispatch import Dispatch

Call = ChatCall | CompletionCall
Write = Callable[[Form, Sequence[Collected], Ending], bytes]


@dataclass(frozen=True)
class Work:
    """`embed` turns the media of a conversation into data. `warnings`: what is known not to be possible."""

    dispatch: Dispatch
    calls: Sequence[Call]
    choice: Callable[[], Choice]
    form: Form
    tally: Tally
    warnings: Sequence[str] = ()
    guard: Guard | None = None
    embed: Callable[[Sequence[Json]], Awaitable[Sequence[Json]]] | None = None


async def stream(work: Work, frames: Frames) -> AsyncGenerator[bytes, None]:
    """One piece of bytes for all that the engine wrote at once."""
    with work.tally:
        unfinished = len(work.calls)
        async with aclosing(_batches(work)) as batches:
            async for batch in batches:
                written: list[bytes] = []
                for index, delta in batch:
                    work.tally.add(index, delta)
                    unfinished -= delta.finish_reason is not None
                    ending = None if unfinished or delta.finish_reason is None else _ending(work)
                    written.append(frames.frame(index, delta, ending))
                yield b"".join(written) if unfinished else b"".join((*written, DONE))


async def whole(work: Work, write: Write) -> bytes:
    with work.tally:
        choices = [Collected() for _ in work.calls]
        async with aclosing(_batches(work)) as batches:
            async for batch in batches:
                for index, delta in batch:
                    work.tally.add(index, delta)
                    choices[index].add(delta)
        return write(work.form, choices, _ending(work))


async def _batches(work: Work) -> AsyncGenerator[Batch, None]:
    if work.guard:
        await work.guard.check_input()
    calls = await _with_media(work)
    async with aclosing(answer(work.dispatch, calls, work.choice)) as batches:
        if not work.guard:
            async for batch in batches:
                yield batch
            return
        held = [batch async for batch in batches]
    for text in _texts(held, len(calls)):
        await work.guard.check_output(text)
    yield [piece for batch in held for piece in batch]


async def _with_media(work: Work) -> Sequence[Call]:
    """The choices of a chat share its messages."""
    first = work.calls[0]
    if work.embed is None or not isinstance(first, ChatCall):
        return work.calls
    messages = await work.embed(first.messages)
    return [msgspec.structs.replace(call, messages=messages) for call in work.calls]


def _texts(batches: Sequence[Batch], count: int) -> list[str]:
    """All that each choice says: thoughts, text, arguments of calls."""
    texts = [""] * count
    for batch in batches:
        for index, delta in batch:
            calls = "".join(call.arguments for call in delta.tool_calls)
            texts[index] += delta.reasoning + delta.text + calls
    return texts


def _ending(work: Work) -> Ending:
    return Ending(work.tally.usage, [*work.warnings, *work.tally.warnings()])
