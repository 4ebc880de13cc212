"""The check of a batch's input file before anything of it runs. Memory does not grow with the file."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from tutti.base.errors import InvalidRequest
from tutti.features.batches.lines import InvalidLine, Line, read_line
from tutti.features.files.checks.batch import MAX_REQUESTS

_MOST_ERRORS = 20
_AT_ONCE = 1000


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
        self.ids = _Ids()
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
        self.faults += self.ids.add(line.custom_id, self.number)

    def findings(self) -> Findings:
        self.faults += self.ids.flush()
        if not self._total and not self.faults:
            self.faults.append(Fault("empty_file", "The file has no requests."))
        if self.too_long:
            self.faults.append(Fault("too_many_requests", f"A batch may have {MAX_REQUESTS} requests."))
        faults = sorted(self.faults, key=lambda fault: fault.line or 0)[:_MOST_ERRORS]
        return Findings(self._total, self._model, faults)


class _Ids:
    """A set of ids that finds those used twice. A million ids are 100 MB of Python strings; SQLite keeps them
    in a file, which is gone when it is closed. The lines are read once, so an exact answer needs the ids
    themselves; the check of uploaded files reads lines again instead (`files/checks/unique`)."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")
        self._new: list[tuple[str, int]] = []

    def add(self, custom_id: str, line: int) -> list[Fault]:
        """Add the id of this line. Return the faults found just now, which may be those of earlier lines."""
        self._new.append((custom_id, line))
        return self.flush() if len(self._new) >= _AT_ONCE else []

    def flush(self) -> list[Fault]:
        new, self._new = self._new, []
        statement = "INSERT OR IGNORE INTO ids VALUES (?, ?)"
        if self._database.executemany(statement, new).rowcount == len(new):
            return []
        return [fault for custom_id, line in new if (fault := self._fault(custom_id, line))]

    def close(self) -> None:
        self._database.close()

    def _fault(self, custom_id: str, line: int) -> Fault | None:
        (first,) = self._database.execute("SELECT line FROM ids WHERE id = ?", (custom_id,)).fetchone()
        if first == line:
            return None
        shown = custom_id if len(custom_id) <= 64 else custom_id[:64] + "…"
        message = f"custom_id {shown} is that of line {first} already."
        return Fault("duplicate_custom_id", message, line, "custom_id")
