"""Sends long inputs to the engine in batches, one lease each: a big request takes turns with small ones."""

from collections.abc import Awaitable, Callable, Iterator, Sequence, Sized
from typing import TypeVar

from tutti.access.caller import Caller
from tutti.base.errors import InternalError
from tutti.base.model import Model
from tutti.dispatch.dispatch import Dispatch, Lease
from tutti.engines.upstream import Refusal

_BATCH_TEXTS = 64
_BATCH_CHARS = 1 << 20
"""An engine counts the tokens of a whole batch, which takes memory."""

_Answer = TypeVar("_Answer")
_Text = TypeVar("_Text", bound=Sized)


async def in_batches(
    dispatch: Dispatch,
    who: Caller,
    model: Model,
    texts: Sequence[_Text],
    work: Callable[[Lease, Sequence[_Text]], Awaitable[Sequence[_Answer]]],
) -> list[_Answer]:
    """Return what `work` answers for each of the texts. It is called with a lease and one batch at a time."""
    answers: list[_Answer] = []
    for batch in _batches(texts):
        async with dispatch.lease(model, who.project_id) as lease:
            try:
                answer = await work(lease, batch)
            except Refusal as refusal:
                raise lease.engine.error(refusal) from refusal
        if len(answer) != len(batch):
            raise InternalError("The engine answered for another number of texts.")
        answers.extend(answer)
    return answers


def _batches(texts: Sequence[_Text]) -> Iterator[Sequence[_Text]]:
    """Yield the texts in batches of at most 64 and, unless a single text is longer, of 1 Mi characters."""
    batch: list[_Text] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == _BATCH_TEXTS or size + len(text) > _BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
