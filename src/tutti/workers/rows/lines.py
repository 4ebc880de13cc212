"""The common part of the readers of csv and Parquet files: `python -m tutti.workers.rows.csv < FILE`.

Each row is a JSON line `{"line": n, ...}`, whose other fields depend on the reader. An error is `{"line": n,
"error": ..., "param": ...}`, with line 0 for the file as a whole; an error after which nothing can be read
ends the reading. The size of a file does not limit what it expands to, so a row that exceeds the limits of
memory or time is an error too. If whoever reads the output closes the pipe, the program ends.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tutti.workers.limits import limit_memory, limit_time

MEMORY_BYTES = 1024**3
CPU_S = 60.0
"""CPU time for one row, in seconds."""
_MOST_LINE_BYTES = 16 * 1024 * 1024

Line = dict[str, Any]


def write_rows(read: Callable[[BinaryIO], Iterator[Line]]) -> None:
    """Write the lines that `read` finds in stdin to stdout, within the limits."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    limit_memory(MEMORY_BYTES)
    limit_time(CPU_S)
    for line in read(sys.stdin.buffer):
        limit_time(CPU_S)
        sys.stdout.buffer.write(_encoded(line))
    sys.stdout.buffer.flush()


def _encoded(line: Line) -> bytes:
    data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
    return data if len(data) <= _MOST_LINE_BYTES else _encoded(too_large(line["line"]))


def wrong(line: int, error: str, param: str | None = None) -> Line:
    return {"line": line, "error": error, "param": param}


def too_large(line: int) -> Line:
    return wrong(line, f"Row {line} is too large: make it smaller, or split it into several.")
