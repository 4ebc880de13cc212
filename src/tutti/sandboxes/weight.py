"""CPU shares: all code of one project together gets about as much CPU as one process, if others want it, too.

So code that never ends, in however many sessions, slows down mostly its own project."""

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_STEP = 1.25
"""Ratio of CPU shares between one nice value and the next, as in the kernel."""
_MOST = 19


def share(sandboxes: Sequence[Sequence[int]]) -> None:
    """Set the nice values of one project's working sandboxes. Each is given as the ids of its processes."""
    processes = sum(map(len, sandboxes)) - len(sandboxes)  # the first one of most sandboxes only waits
    nice = niceness(max(len(sandboxes), processes))
    for pids in sandboxes:
        _give_way(pids, nice)


def niceness(processes: int) -> int:
    """Return the nice value for each of so many processes."""
    return min(_MOST, round(math.log(max(1, processes), _STEP)))


def _give_way(pids: Iterable[int], nice: int) -> None:
    """Set the nice value of processes and of their autogroups, because some kernels compare autogroups first.

    Processes that have ended, or belong to another user, stay as they are. So does a nice value that only
    root may lower again."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (pathlib is three times as slow)
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
