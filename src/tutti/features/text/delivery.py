"""From a request's calls to the bytes of its answer, streamed or whole."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from tutti.dispatch.dispatch import Dispatch
from tutti.engines.calls import ChatCall, CompletionCall, Json
from tutti.features.text.bodies import Collected
from tutti.features.text.choice import Choice
from tutti.features.text.chunks import DONE, Ending, Frames
from tutti.features.text.enforce import Keeper
from tutti.features.text.safety import Guard
from tutti.features.text.service import Batch, answer
from tutti.features.text.shapes import Form
from tutti.features.text.tally import Tally

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
    keeper: Keeper
    warnings: Sequence[str] = ()
    guard: Guard | None = None
    embed: Callable[[Sequence[Json]], Awaitable[Sequence[Json]]] | None = None


async def stream(work: Work, frames: Frames) -> AsyncGenerator[bytes, None]:
    """One piece of bytes for all that the engine wrote at once."""
    with work.tally:
        unfinished = len(work.calls)
        async with aclosing(await _begun(work)) as batches:
            async for batch in batches:
                written: list[bytes] = []
                for index, delta in batch:
                    unfinished -= delta.finish_reason is not None
                    ending = None if unfinished or delta.finish_reason is None else _ending(work)
                    written.append(frames.frame(index, delta, ending))
                yield b"".join(written) if unfinished else b"".join((*written, DONE))


async def whole(work: Work, write: Write) -> bytes:
    with work.tally:
        choices = [Collected() for _ in work.calls]
        async with aclosing(await _begun(work)) as batches:
            async for batch in batches:
                for index, delta in batch:
                    choices[index].add(delta)
        return write(work.form, choices, _ending(work))


async def _begun(work: Work) -> AsyncGenerator[Batch, None]:
    if work.guard is not None:
        await work.guard.check_input()
    batches = answer(work.dispatch, await _with_media(work), work.choice, work.tally)
    if work.keeper.constraint is not None:
        batches = work.keeper.kept(batches, len(work.calls))
    return batches if work.guard is None else _checked(work.guard, batches)


async def _checked(guard: Guard, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Batch, None]:
    """All at once, after the guard has seen all."""
    async with aclosing(batches):
        held = [piece async for batch in batches for piece in batch]
    for text in _texts(held):
        await guard.check_output(text)
    yield held


async def _with_media(work: Work) -> Sequence[Call]:
    """The choices of a chat share its messages."""
    first = work.calls[0]
    if work.embed is None or not isinstance(first, ChatCall):
        return work.calls
    messages = await work.embed(first.messages)
    return [msgspec.structs.replace(call, messages=messages) for call in work.calls]


def _texts(pieces: Batch) -> Iterable[str]:
    """All that each choice says: thoughts, text, arguments of calls."""
    texts: defaultdict[int, str] = defaultdict(str)
    for index, delta in pieces:
        calls = "".join(call.arguments for call in delta.tool_calls)
        texts[index] += delta.reasoning + delta.text + calls
    return texts.values()


def _ending(work: Work) -> Ending:
    return Ending(work.tally.usage, [*work.warnings, *work.keeper.warnings, *work.tally.warnings()])
