"""Limits that a program sets itself before it reads what a client wrote. The kernel keeps them.

What exceeds the memory is a MemoryError, which the program tells; what exceeds the time ends the process by
SIGPROF, since no Python code may be running that could notice.
"""

import resource
import signal
from collections.abc import Iterable
from pathlib import Path

_GIB = 1024**3


def limit_memory(size_bytes: int) -> None:
    """Limit what the process may write to. Files that are mapped to be read don't count, however large."""
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def limit_time(cpu_s: float) -> None:
    """End the process after so much more CPU time, unless this is called again; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def limit_by_size(paths: Iterable[Path]) -> None:
    """Limit memory and time to what it takes to rewrite files of this size."""
    size_bytes = sum(path.stat().st_size for path in paths)
    limit_memory(2 * _GIB + 2 * size_bytes)
    limit_time(600 + 300 * size_bytes / _GIB)
