"""Turn detection as the realtime API describes it: where speech begins and ends, from frame probabilities."""

from dataclasses import dataclass

from tutti.workers.transcribe.samples import position
from tutti.workers.transcribe.vad import FRAME

_HYSTERESIS = 0.15  # speech ends below a probability this much lower than the threshold that begins it
_LEAST_THRESHOLD = 0.01


@dataclass(frozen=True)
class Limits:
    """The settings of turn detection, with the names and defaults of the realtime API."""

    threshold: float = 0.3
    min_silence_duration_ms: float = 500
    min_speech_duration_ms: float = 250
    max_speech_duration_s: float = 5.0
    speech_pad_ms: float = 250


@dataclass(frozen=True)
class Turn:
    """A turn, in positions of the stream.

    `start` and `end` include padding; `speech_end` is where speech ended.
    """

    start: int
    end: int
    speech_end: int


class Turns:
    """Turn detection for one stream, frame by frame. `limits` may be replaced at any time."""

    def __init__(self, limits: Limits, at: int = 0) -> None:
        self.limits = limits
        self.position = at
        self._end = at  # where the last turn ended, with padding
        self._quiet_before: int | None = None  # where speech ended in the last turn, without padding
        self._speech: int | None = None  # where speech began in the current turn
        self._start = at  # where the current turn begins, with padding
        self._quiet: int | None = None  # where the current silence began
        self._gaps: list[tuple[int, int]] = []  # the pauses in the current turn

    @property
    def start(self) -> int | None:
        """The start of the current turn, with padding, or None if nobody speaks."""
        return None if self._speech is None else self._start

    @property
    def quiet(self) -> int | None:
        """The position since which the current turn has been silent, or None if somebody speaks."""
        return self._quiet

    @property
    def needed(self) -> int:
        """The position before which no sample can be part of a later turn."""
        if self._speech is not None:
            return self._start
        return max(self._end, self.position - position(self.limits.speech_pad_ms / 1000))

    def feed(self, probability: float) -> Turn | None:
        """Take the speech probability of the next frame. Return the turn that ends with it, if one does."""
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
        """End the current turn here, and return it. Return None if there is none, or if it is too short."""
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
        """Return the padding beside a gap of that length: at most half of it, since two turns share it.

        With `whole` the padding may take all of the gap.
        """
        return min(position(self.limits.speech_pad_ms / 1000), gap if whole else gap // 2)

    def _close(self) -> Turn | None:
        assert self._speech is not None
        speech_end = self.position if self._quiet is None else self._quiet
        turn = Turn(self._start, speech_end + self._pad(self._silence()), speech_end)
        long_enough = speech_end - self._speech >= position(self.limits.min_speech_duration_ms / 1000)
        self._speech = self._quiet = None
        self._quiet_before = speech_end
        self._end = turn.end if long_enough else self._end
        return turn if long_enough else None

    def _split(self) -> Turn | None:
        """Split a turn that has become too long at its longest pause, or here if it has none."""
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
