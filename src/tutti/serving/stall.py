"""A hung engine shows itself by what it does not do: it has work, and its progress mark stands still."""

from tutti.engines.base import Progress


class Stall:
    """Times are monotonic seconds."""

    def __init__(self, began_s: float) -> None:
        self._last: Progress | None = None
        self._moved_at = began_s

    def seen(self, progress: Progress | None, now_s: float) -> float:
        """How long the engine has been standing still. None: it did not answer."""
        if progress is not None:
            if progress.busy == 0 or self._last is None or progress.mark != self._last.mark:
                self._moved_at = now_s
            self._last = progress
        return now_s - self._moved_at
