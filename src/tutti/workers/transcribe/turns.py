"""Where speech begins and ends, from the probabilities of the frames, as the realtime API describes it."""

from dataclasses import dataclass

from tutti.workers.transcribe.samples import position
from tutti.workers.transcribe.voice import FRAME

_HYSTERESIS = 0.15  # speech goes on until it is this much less likely than what began it
_LEAST_THRESHOLD = 0.01


@dataclass(frozen=True)
class Limits:
    threshold: float = 0.3
    min_silence_duration_ms: float = 500
    min_speech_duration_ms: float = 250
    max_speech_duration_s: float = 5.0
    speech_pad_ms: float = 250


@dataclass(frozen=True)
class Turn:
    """`start` and `end` with padding; nothing was said after `heard`."""

    start: int
    end: int
    heard: int


class Turns:
    """Takes one frame after the other. `limits` may be replaced at any time."""

    def __init__(self, limits: Limits, at: int = 0) -> None:
        self.limits = limits
        self.position = at
        self._end = at  # of the last turn, padded
        self._quiet_before: int | None = None  # the end of the last turn, not padded
        self._speech: int | None = None
        self._start = at
        self._quiet: int | None = None
        self._gaps: list[tuple[int, int]] = []

    @property
    def start(self) -> int | None:
        """Of the turn that goes on, padded; None: nobody speaks."""
        return None if self._speech is None else self._start

    @property
    def quiet(self) -> int | None:
        """Since when nobody has spoken in the turn that goes on."""
        return self._quiet

    @property
    def needed(self) -> int:
        """Samples before this will be in no turn any more."""
        if self._speech is not None:
            return self._start
        return max(self._end, self.position - position(self.limits.speech_pad_ms / 1000))

    def feed(self, probability: float) -> Turn | None:
        """The turn that ended with this frame."""
        now = self.position
        self.position += FRAME
        if probability >= self.limits.threshold:
            self._heard(now)
        if self._speech is None:
            return None
        if self._quiet is None and probability < max(self.limits.threshold - _HYSTERESIS, _LEAST_THRESHOLD):
            self._quiet = now
        if self._silence() >= position(self.limits.min_silence_duration_ms / 1000):
            return self._close()
        if self.position - self._speech >= position(self.limits.max_speech_duration_s):
            return self._split()
        return None

    def finish(self) -> Turn | None:
        """The turn that goes on, ended here."""
        return None if self._speech is None else self._close()

    def _heard(self, now: int) -> None:
        if self._speech is None:
            gap = now - self._end if self._quiet_before is None else now - self._quiet_before
            self._speech, self._gaps = now, []
            self._start = max(self._end, now - self._pad(gap, whole=self._quiet_before is None))
        elif self._quiet is not None:
            self._gaps.append((self._quiet, now))
        self._quiet = None

    def _silence(self) -> int:
        return 0 if self._quiet is None else self.position - self._quiet

    def _pad(self, gap: int, *, whole: bool = False) -> int:
        """Two turns share the gap between them."""
        return min(position(self.limits.speech_pad_ms / 1000), gap if whole else gap // 2)

    def _close(self) -> Turn | None:
        assert self._speech is not None
        heard = self.position if self._quiet is None else self._quiet
        turn = Turn(self._start, heard + self._pad(self._silence()), heard)
        long_enough = heard - self._speech >= position(self.limits.min_speech_duration_ms / 1000)
        self._speech = self._quiet = None
        self._quiet_before = heard
        self._end = turn.end if long_enough else self._end
        return turn if long_enough else None

    def _split(self) -> Turn | None:
        """At the longest pause of a turn that has become too long; where there was none, here."""
        assert self._speech is not None
        least = self._speech + position(self.limits.min_speech_duration_ms / 1000)
        gaps = [gap for gap in self._gaps if gap[0] >= least]
        if self._quiet is not None:
            gaps.append((self._quiet, self.position))
        if not gaps:
            return self._cut(self.position, self.position)
        begin, end = max(gaps, key=lambda gap: gap[1] - gap[0])
        return self._close() if begin == self._quiet else self._cut(begin, end)

    def _cut(self, begin: int, end: int) -> Turn:
        pad = self._pad(end - begin)
        turn = Turn(self._start, begin + pad, begin)
        self._speech, self._start, self._end = end, end - pad, turn.end
        self._gaps = [gap for gap in self._gaps if gap[0] >= end]
        return turn
