"""The check of a batch's input file before anything of it runs. Memory does not grow with the file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from tutti.base.errors import InvalidRequest
from tutti.features.batches.lines import InvalidLine, Line, read_line
from tutti.features.files.checks.batch import MAX_REQUESTS
from tutti.features.files.checks.unique import FirstLines

_MOST_ERRORS = 20


@dataclass(frozen=True)
class Fault:
    """A mistake in the file. `line` counts from 1 as text editors do; None: the file as a whole is wrong."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True)
class Findings:
    """Results of the check. `model` is that of the first request that names one; `faults` are the first ones,
    in the order of their lines."""

    total_lines: int
    model: str
    faults: Sequence[Fault]


async def examine(lines: AsyncIterator[bytes], endpoint: str) -> Findings:
    """Check all lines of a batch's input file, or those up to the last fault that is reported."""
    check = _Check(endpoint)
    with closing(check.ids):
        try:
            async for data in lines:
                check.read(data)
                if len(check.faults) >= _MOST_ERRORS or check.too_long:
                    break
        except InvalidRequest as error:
            check.faults.append(Fault("invalid_line", error.message, check.number + 1))
        return check.findings()


class _Check:
    def __init__(self, endpoint: str) -> None:
        self.ids = FirstLines()
        self.faults: list[Fault] = []
        self.number = 0
        self._endpoint = endpoint
        self._total = 0
        self._model = ""

    @property
    def too_long(self) -> bool:
        return self._total > MAX_REQUESTS

    def read(self, data: bytes) -> None:
        self.number += 1
        if not data.strip():
            return
        self._total += 1
        try:
            self._accept(read_line(data, self._endpoint))
        except InvalidLine as error:
            self.faults.append(Fault(error.code, error.message, self.number, error.param))

    def _accept(self, line: Line) -> None:
        self._model = self._model or line.model
        if first := self.ids.add(line.custom_id, self.number):
            self.faults.append(_repeated(line.custom_id, first, self.number))

    def findings(self) -> Findings:
        if not self._total and not self.faults:
            self.faults.append(Fault("empty_file", "The file has no requests."))
        if self.too_long:
            self.faults.append(Fault("too_many_requests", f"A batch may have {MAX_REQUESTS} requests."))
        faults = sorted(self.faults, key=lambda fault: fault.line or 0)[:_MOST_ERRORS]
        return Findings(self._total, self._model, faults)


def _repeated(custom_id: str, first: int, line: int) -> Fault:
    shown = custom_id if len(custom_id) <= 64 else custom_id[:64] + "…"
    message = f"custom_id {shown} is that of line {first} already."
    return Fault("duplicate_custom_id", message, line, "custom_id")
