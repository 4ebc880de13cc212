"""Cuts a recording at pauses into packs for Whisper.

Whisper always processes a window of 30 seconds, however little of it is filled, so a pack holds as many turns
as fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from tutti.workers.transcribe.samples import RATE_HZ, Samples, Tape
from tutti.workers.transcribe.turns import Limits, Turn, Turns
from tutti.workers.transcribe.vad import SpeechDetector

MAX_PACK_S = 29
_MAX_PAUSE = 4 * RATE_HZ  # in long silences Whisper hallucinates
_LIMITS = Limits(
    threshold=0.35,
    min_silence_duration_ms=400,
    min_speech_duration_ms=100,
    max_speech_duration_s=MAX_PACK_S - 2,
    speech_pad_ms=200,
)


@dataclass
class Pack:
    """A piece of the recording, to be transcribed at once.

    `start` is the position of `samples` in the recording; the positions of `turns` also count from its start.
    """

    start: int
    samples: Samples
    turns: list[Turn]

    def of(self, turn: Turn) -> Samples:
        """Return the samples of a turn."""
        return self.samples[turn.start - self.start : turn.end - self.start]


@dataclass
class Reading:
    """Reads a recording and yields its packs.

    `duration`, in samples, is complete once all packs are read. Another thread sets `left` to end the reading
    soon: hours of silence are read without yielding a pack.
    """

    detector: SpeechDetector
    duration: int = 0
    left: bool = False
    _turns: Turns = field(default_factory=lambda: Turns(_LIMITS))
    _tape: Tape = field(default_factory=Tape)
    _open: list[Turn] = field(default_factory=list[Turn])

    def packs(self, blocks: Iterator[Samples]) -> Iterator[Pack]:
        """Yield the packs of the blocks, in order. Only the audio that is still needed is in memory."""
        for block in takewhile(lambda _: not self.left, blocks):
            self._tape.append(block)
            self.duration = self._tape.end
            for probability in self.detector.hear(block):
                yield from self._add(self._turns.feed(float(probability)))
            self._tape.forget(self._open[0].start if self._open else self._turns.needed)
        for probability in self.detector.finish():
            yield from self._add(self._turns.feed(float(probability)))
        yield from self._add(self._turns.finish())
        if self._open:
            yield self._close()

    def _add(self, turn: Turn | None) -> Iterator[Pack]:
        if turn is None:
            return
        if self._open and not self._fits(turn):
            yield self._close()
        self._open.append(turn)

    def _fits(self, turn: Turn) -> bool:
        length = turn.end - self._open[0].start
        return length <= MAX_PACK_S * RATE_HZ and turn.start - self._open[-1].end <= _MAX_PAUSE

    def _close(self) -> Pack:
        turns, self._open = self._open, []
        start, end = turns[0].start, min(turns[-1].end, self._tape.end)
        return Pack(start, self._tape.between(start, end), turns)
