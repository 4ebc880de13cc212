"""Carries out the plan of an answer: the bytes of a stream, or of one whole body.

What goes in is an `AnswerPlan` and a writer of one API's shapes (`chunks` for streams, `bodies` for whole
answers). What an engine writes passes these stages, in this order:

1. the safety model judges the input, if the request names one;
2. media that are given by URL are fetched, so that engines get data;
3. `generate` asks the engine for all choices, each through a `ChoiceReader`, and the tally counts;
4. `enforce` checks finished choices against what the client wants enforced;
5. the safety model judges the output: then nothing is sent before everything is written.

The tally encloses all of it, so every request is recorded, however it ends. `stream` makes one piece of bytes
of all that the engine wrote at once: it runs for every token, so keep it lean.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from tutti.dispatch.dispatch import Dispatch
from tutti.engines.calls import ChatCall, Json
from tutti.features.text.bodies import Collected
from tutti.features.text.calls import TextCall
from tutti.features.text.choice import ChoiceReader
from tutti.features.text.chunks import DONE, Ending, Frames
from tutti.features.text.enforce import ConstraintCheck
from tutti.features.text.generate import IndexedDeltas, generate
from tutti.features.text.safety import SafetyGuard
from tutti.features.text.shapes import AnswerForm
from tutti.features.text.tally import TokenTally

Write = Callable[[AnswerForm, Sequence[Collected], Ending], bytes]
"""Writes a whole answer in the shape of one API."""


@dataclass(frozen=True)
class AnswerPlan:
    """All that is decided about an answer before an engine is asked for it."""

    dispatch: Dispatch
    calls: Sequence[TextCall]
    """One for each choice."""
    reader: Callable[[], ChoiceReader]
    """Makes the reader of one choice."""
    form: AnswerForm
    tally: TokenTally
    check: ConstraintCheck
    warnings: Sequence[str] = ()
    """What is known beforehand to have no effect."""
    guard: SafetyGuard | None = None
    embed: Callable[[Sequence[Json]], Awaitable[Sequence[Json]]] | None = None
    """Puts data in place of the URLs of a conversation's media; None if it has no media."""


async def stream(plan: AnswerPlan, frames: Frames) -> AsyncGenerator[bytes, None]:
    """Yield the frames of a stream and its `[DONE]`: one piece for all that the engine wrote at once."""
    with plan.tally:
        unfinished = len(plan.calls)
        async with aclosing(await _generated(plan)) as batches:
            async for batch in batches:
                written: list[bytes] = []
                for index, delta in batch:
                    unfinished -= delta.finish_reason is not None
                    ending = None if unfinished or delta.finish_reason is None else _ending(plan)
                    written.append(frames.frame(index, delta, ending))
                yield b"".join(written) if unfinished else b"".join((*written, DONE))


async def whole(plan: AnswerPlan, write: Write) -> bytes:
    """Return the body of an answer that is sent once all of it is written."""
    with plan.tally:
        choices = [Collected() for _ in plan.calls]
        async with aclosing(await _generated(plan)) as batches:
            async for batch in batches:
                for index, delta in batch:
                    choices[index].add(delta)
        return write(plan.form, choices, _ending(plan))


async def _generated(plan: AnswerPlan) -> AsyncGenerator[IndexedDeltas, None]:
    """Return the deltas of all choices, checked as the plan says, once the input is known to be safe."""
    if plan.guard is not None:
        await plan.guard.check_input()
    batches = generate(plan.dispatch, await _with_media(plan), plan.reader, plan.tally)
    if plan.check.constraint is not None:
        batches = plan.check.checked(batches, len(plan.calls))
    return batches if plan.guard is None else _guarded(plan.guard, batches)


async def _guarded(
    guard: SafetyGuard, batches: AsyncGenerator[IndexedDeltas, None]
) -> AsyncGenerator[IndexedDeltas, None]:
    """Yield all deltas at once, after the safety model has judged the whole of every choice."""
    async with aclosing(batches):
        held = [piece async for batch in batches for piece in batch]
    for text in _texts_of_choices(held):
        await guard.check_output(text)
    yield held


async def _with_media(plan: AnswerPlan) -> Sequence[TextCall]:
    """Return the calls with all media as data. The choices of a chat share its messages."""
    first = plan.calls[0]
    if plan.embed is None or not isinstance(first, ChatCall):
        return plan.calls
    messages = await plan.embed(first.messages)
    return [msgspec.structs.replace(call, messages=messages) for call in plan.calls]


def _texts_of_choices(pieces: IndexedDeltas) -> Iterable[str]:
    """Return for each choice everything that the model wrote: thoughts, text, arguments of tool calls."""
    texts: defaultdict[int, str] = defaultdict(str)
    for index, delta in pieces:
        arguments = "".join(call.arguments for call in delta.tool_calls)
        texts[index] += delta.reasoning + delta.text + arguments
    return texts.values()


def _ending(plan: AnswerPlan) -> Ending:
    return Ending(plan.tally.usage, [*plan.warnings, *plan.check.warnings, *plan.tally.warnings()])
