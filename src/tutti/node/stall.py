"""A program that hangs shows itself by what it does not do: it has work, its progress mark stands still, and
its threads compute nothing. On a slow machine a healthy one may take minutes from one mark to the next."""

from tutti.base.program import Progress

SPINS = 10
"""A program that computes without ever getting anything done is given up after so many times the limit."""
_WORKS = 0.05
"""Part of a core. Answering questions about its progress costs a program less than that."""


class Stall:
    """A watch on one program. Times are monotonic seconds; it may do nothing for `limit_s`."""

    def __init__(self, began_s: float, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: Progress | None = None
        self._moved_at = self._worked_at = began_s
        self._cpu_s, self._cpu_at = 0.0, began_s

    def moves(self, progress: Progress | None, now_s: float) -> bool:
        """Return whether it got something done since the last look, or has nothing to do. A progress of None
        means that it did not answer."""
        last, self._last = self._last, progress or self._last
        if progress is None or (progress.busy and last is not None and progress.mark == last.mark):
            return False
        self._moved_at = self._worked_at = now_s
        return True

    def why(self, cpu_s: float, now_s: float) -> str:
        """Return why a program that does not move has to end; empty if it need not. `cpu_s` is the time that
        its threads have computed since it was started."""
        if cpu_s - self._cpu_s > _WORKS * (now_s - self._cpu_at):
            self._worked_at = now_s
        self._cpu_s, self._cpu_at = cpu_s, now_s
        if now_s - self._worked_at >= self._limit_s:
            return f"it was busy, but did nothing for {self._limit_s:.0f} s (--hang-timeout)"
        if now_s - self._moved_at >= SPINS * self._limit_s:
            most_s = SPINS * self._limit_s
            return f"it computed for {most_s:.0f} s without any progress ({SPINS} times --hang-timeout)"
        return ""
