"""Drafts of the transcript of a turn that is still being spoken.

One draft is computed at a time, over the whole turn so far: about every second while somebody speaks, and
once more as soon as they pause. If the turn ends with that pause, the last draft is the transcript, without
delay.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from tutti.base.clock import monotonic_s
from tutti.workers.transcribe.samples import RATE_HZ, Samples, Tape
from tutti.workers.transcribe.turns import Turn, Turns
from tutti.workers.transcribe.whisper import Options, Transcript, Whisper

_INTERVAL = RATE_HZ  # samples between two drafts
_PAUSE = RATE_HZ * 16 // 100  # samples of silence after which a draft may be final
_FINAL, _DRAFT = 0, 1  # urgencies in the lane
_LIVE_FALLBACKS = (0.0, 0.4, 0.8)


class Drafts:
    """The drafts of one session's current turn. `show` is called with each new draft."""

    def __init__(self, whisper: Whisper, options: Options, show: Callable[[str], None]) -> None:
        self._whisper = whisper
        self._show = show
        self.options = replace(options, beams=1, temperatures=_LIVE_FALLBACKS)
        self._start: int | None = None
        self._until = 0
        self._task: asyncio.Task[Transcript | None] | None = None
        self._took = 0  # the duration of the last draft's computation, in samples

    def listen(self, turns: Turns, tape: Tape) -> None:
        """Start a draft if it is time for one. To be called whenever the turn has grown."""
        if turns.start is None or (self._task is not None and not self._task.done()):
            return
        if turns.start != self._start:
            self._start, self._until = turns.start, turns.start
        if self._is_due(turns):
            urgency = _DRAFT if turns.quiet is None else _FINAL
            self._until = turns.position
            samples = tape.between(turns.start, turns.position)
            self._task = asyncio.create_task(self._draft(samples, urgency))

    async def final(self, turn: Turn, samples: Samples) -> Transcript:
        """Return the transcript of the finished turn. Raises RuntimeError if the model fails."""
        task, self._task = self._task, None
        covered = self._start == turn.start and self._until >= turn.speech_end
        self._start = None
        if task is not None and not covered:
            task.cancel()
        draft = await task if task is not None and covered else await self._transcribe_short(samples, _FINAL)
        return draft or await self._transcribe_fully(samples)

    def drop(self) -> None:
        """Forget the current turn, and cancel its draft."""
        if self._task is not None:
            self._task.cancel()
        self._start = self._task = None

    def _is_due(self, turns: Turns) -> bool:
        if turns.quiet is not None:
            return self._until < turns.quiet and turns.position - turns.quiet >= _PAUSE
        return turns.position - self._until >= max(_INTERVAL, 2 * self._took)

    async def _draft(self, samples: Samples, urgency: int) -> Transcript | None:
        start, began_s = self._start, monotonic_s()
        transcript = await self._transcribe_short(samples, urgency)
        self._took = int((monotonic_s() - began_s) * RATE_HZ)
        if transcript is not None and start is not None and self._start == start:
            self._show(transcript.text)
        return transcript

    async def _transcribe_short(self, samples: Samples, urgency: int) -> Transcript | None:
        with self._whisper.work.one():
            return await self._whisper.live.run(
                lambda: self._whisper.transcribe_short(samples, self.options), urgency
            )

    async def _transcribe_fully(self, samples: Samples) -> Transcript:
        with self._whisper.work.one():
            return await self._whisper.live.run(
                lambda: self._whisper.transcribe(samples, self.options), _FINAL
            )
