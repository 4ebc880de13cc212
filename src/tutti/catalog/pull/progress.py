"""Progress of a pull."""

from collections.abc import Callable
from typing import Literal

import msgspec

from tutti.base.clock import monotonic_s

_REPORT_S = 0.2


class PullProgress(msgspec.Struct, frozen=True):
    """The progress of a pull. `total_bytes` is 0 while unknown. `file` and `source` are for people."""

    state: Literal["waiting", "downloading", "verifying", "done"]
    done_bytes: int = 0
    total_bytes: int = 0
    file: str = ""
    source: str = ""


Report = Callable[[PullProgress], None]


class Meter:
    """A sum of what the files report, which is passed on every now and then."""

    def __init__(self, report: Report, total_bytes: int) -> None:
        self._report = report
        self._total = total_bytes
        self._before = 0
        self._most = 0
        self._file = ""
        self._source = ""
        self._reported_at = 0.0

    def start(self, file: str, source: str) -> None:
        self._file, self._source, self._most = file, source, 0
        self.moved(0)

    def moved(self, size: int) -> None:
        """Report `size` bytes of the present file. Fetched pieces are joined later, which counts up once
        more: people see the greatest size so far."""
        size = self._most = max(self._most, size)
        if monotonic_s() - self._reported_at >= _REPORT_S:
            self._pass_on("downloading", size)

    def verifying(self, size: int) -> None:
        self._pass_on("verifying", size)

    def finished(self, size: int) -> None:
        self._before += size

    def done(self) -> None:
        self._file = self._source = ""
        self._pass_on("done", 0)

    def _pass_on(self, state: Literal["downloading", "verifying", "done"], size: int) -> None:
        self._reported_at = monotonic_s()
        done = self._before + size
        total = max(self._total, done) if self._total else 0
        self._report(PullProgress(state, done, total, self._file, self._source))
