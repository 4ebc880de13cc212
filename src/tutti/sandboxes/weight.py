"""How much of the processors code gets where others want them, too: all that one project runs together, about
as much as one process. So code that never ends, in however many sessions, slows down its own project most."""

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_STEP = 1.25
"""From one nice value to the next, as the kernel has it."""
_MOST = 19


def share(sandboxes: Sequence[Sequence[int]]) -> None:
    """Among one project's that are at work: the ids of the processes of each."""
    processes = sum(map(len, sandboxes)) - len(sandboxes)  # the first one of most sandboxes only waits
    nice = niceness(max(len(sandboxes), processes))
    for pids in sandboxes:
        _give_way(pids, nice)


def niceness(processes: int) -> int:
    """Of each, where there are so many."""
    return min(_MOST, round(math.log(max(1, processes), _STEP)))


def _give_way(pids: Iterable[int], nice: int) -> None:
    """Some kernels compare groups of processes (autogroups) before they compare processes. What has ended, or
    is not ours, stays as it is; so does what only root may make more important again."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (pathlib is three times as slow)
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
