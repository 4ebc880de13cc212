"""What the readers of csv and Parquet files have in common: `python -m tutti.workers.rows.csv < FILE`.

A row is a JSON line: `{"line": n, ...}` with what its reader says of it. What is wrong is
`{"line": n, "error": ..., "param": ...}`, with line 0 for the file as a whole; reading ends with what leaves
nothing to be read. The size of a file says nothing about what is in it: a row that does not fit the limits of
memory and time is wrong too. Whoever reads the output may leave at any time, which ends this.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tutti.workers.limits import limit_memory, limit_time

MEMORY_BYTES = 1024**3
CPU_S = 60.0
"""For one row."""
_LONGEST = 16 * 1024 * 1024
"""Of a line of the output, in bytes."""

Line = dict[str, Any]


def write_rows(read: Callable[[BinaryIO], Iterator[Line]]) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    limit_memory(MEMORY_BYTES)
    limit_time(CPU_S)
    for line in read(sys.stdin.buffer):
        limit_time(CPU_S)
        sys.stdout.buffer.write(_encoded(line))
    sys.stdout.buffer.flush()


def _encoded(line: Line) -> bytes:
    data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
    return data if len(data) <= _LONGEST else _encoded(too_large(line["line"]))


def wrong(line: int, error: str, param: str | None = None) -> Line:
    return {"line": line, "error": error, "param": param}


def too_large(line: int) -> Line:
    return wrong(line, f"Row {line} is too large: make it smaller, or split it into several.")
