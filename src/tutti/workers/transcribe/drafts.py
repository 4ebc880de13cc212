"""What a turn seems to say while it goes on.

One try at a time, over the whole turn so far: every second or so while somebody speaks, and once more as soon
as they pause. If the pause turns out to be the end, that last try is the transcript, there at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from tutti.base.clock import monotonic_s
from tutti.workers.transcribe.samples import RATE_HZ, Samples, Tape
from tutti.workers.transcribe.turns import Turn, Turns
from tutti.workers.transcribe.whisper import Heard, Hearing, Whisper

_EVERY = RATE_HZ
_PAUSE = RATE_HZ * 16 // 100
_FINAL, _DRAFT = 0, 1  # urgencies
_LIVE_FALLBACKS = (0.0, 0.4, 0.8)


class Drafts:
    """`show` is given each new text of the turn that goes on."""

    def __init__(self, whisper: Whisper, hearing: Hearing, show: Callable[[str], None]) -> None:
        self._whisper = whisper
        self._show = show
        self.hearing = replace(hearing, beams=1, temperatures=_LIVE_FALLBACKS)
        self._start: int | None = None
        self._until = 0
        self._task: asyncio.Task[Heard | None] | None = None
        self._took = 0  # the samples that would have come in during the last try

    def listen(self, turns: Turns, tape: Tape) -> None:
        """To be called as the turn goes on: tries when it is time to."""
        if turns.start is None or (self._task is not None and not self._task.done()):
            return
        if turns.start != self._start:
            self._start, self._until = turns.start, turns.start
        if self._is_due(turns):
            urgency = _DRAFT if turns.quiet is None else _FINAL
            self._until = turns.position
            samples = tape.between(turns.start, turns.position)
            self._task = asyncio.create_task(self._try(samples, urgency))

    async def final(self, turn: Turn, samples: Samples) -> Heard:
        """The turn's transcript. Raises RuntimeError where the model fails."""
        task, self._task = self._task, None
        covered = self._start == turn.start and self._until >= turn.heard
        self._start = None
        if task is not None and not covered:
            task.cancel()
        tried = await task if task is not None and covered else await self._heard(samples, _FINAL)
        return tried or await self._carefully(samples)

    def drop(self) -> None:
        """Forgets the turn that goes on."""
        if self._task is not None:
            self._task.cancel()
        self._start = self._task = None

    def _is_due(self, turns: Turns) -> bool:
        if turns.quiet is not None:
            return self._until < turns.quiet and turns.position - turns.quiet >= _PAUSE
        return turns.position - self._until >= max(_EVERY, 2 * self._took)

    async def _try(self, samples: Samples, urgency: int) -> Heard | None:
        start, began_s = self._start, monotonic_s()
        heard = await self._heard(samples, urgency)
        self._took = int((monotonic_s() - began_s) * RATE_HZ)
        if heard is not None and start is not None and self._start == start:
            self._show(heard.text)
        return heard

    async def _heard(self, samples: Samples, urgency: int) -> Heard | None:
        with self._whisper.work.one():
            return await self._whisper.live.run(lambda: self._whisper.glance(samples, self.hearing), urgency)

    async def _carefully(self, samples: Samples) -> Heard:
        with self._whisper.work.one():
            return await self._whisper.live.run(lambda: self._whisper.hear(samples, self.hearing), _FINAL)
