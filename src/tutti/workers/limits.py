"""Limits that a program sets itself before it reads what a client wrote. The kernel enforces them.

Exceeding the memory raises MemoryError, which the program reports. Exceeding the CPU time ends the process by
SIGPROF, because Python code that could notice it may not get to run.
"""

import resource
import signal
from collections.abc import Iterable
from pathlib import Path

_GIB = 1024**3


def limit_memory(size_bytes: int) -> None:
    """Limit the process's writable memory (RLIMIT_DATA).

    Files mapped for reading don't count, however large.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, size_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def limit_time(cpu_s: float) -> None:
    """End the process after `cpu_s` more seconds of CPU time.

    The next call replaces the limit; 0 removes it.
    """
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def limit_by_size(paths: Iterable[Path]) -> None:
    """Limit memory and CPU time to what rewriting the files takes.

    The memory is 2 GiB and twice the files' size, the time 600 s and 300 s a GiB.
    """
    size_bytes = sum(path.stat().st_size for path in paths)
    limit_memory(2 * _GIB + 2 * size_bytes)
    limit_time(600 + 300 * size_bytes / _GIB)
