"""A watch over limits that the kernel does not enforce here, for a whole sandbox: memory, CPU time,
processes, files and sockets. It checks them every quarter of a second."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

from tutti.sandboxes.base import Box, Limits, spelled
from tutti.sandboxes.box import read

_LOOK_S = 0.25
_CLOSE_LOOK_S = 0.05
"""Interval once half of the memory is used."""
_IDLE_LOOKS = 8
"""Number of checks after which an idle sandbox is measured all the same: CPU time is counted in ticks of 10
ms, and much memory can be taken in less."""
_FILES = 100_000
"""Limit of the files in home, /tmp and their folders: a file system in memory does not count empty files."""
_SOCKETS = 512
"""Limit of open sockets: no process accounts for the memory of their buffers."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The watch over one sandbox. It calls `kill` or `stop` with the reason: `stop` if an interrupt can
    help."""

    def __init__(
        self, box: Box, limits: Limits, kill: Callable[[str], None], stop: Callable[[str], None]
    ) -> None:
        self._box = box
        self._limits = limits
        self._kill = kill
        self._stop = stop
        self._cpu = _Cpu()
        self._cpu_before_s = 0.0
        self._idle_looks = 0
        self.is_working = False
        """True if CPU time was used recently."""
        self.own_bytes = 0
        """Memory in bytes that the sandbox shares with no other process."""

    def execution_begins(self) -> None:
        """Count CPU time from here on, including what background processes use after the execution."""
        self._cpu_before_s = self._cpu.total_s

    async def run(self) -> None:
        while True:  # noqa: ASYNC110 (the kernel sends no event to wait for)
            await asyncio.sleep(_CLOSE_LOOK_S if self._look() else _LOOK_S)

    def _look(self) -> bool:
        """Check all limits once. Return True to check again soon."""
        pids, limits = self._box.pids(), self._limits
        self.is_working = self._cpu.count(pids)
        self._idle_looks = 0 if self.is_working else self._idle_looks + 1
        if self._idle_looks % _IDLE_LOOKS:
            return False  # an idle sandbox uses nothing more
        if self._cpu.total_s - self._cpu_before_s > limits.cpu_s:
            self._stop(f"The code used more than its {limits.cpu_s:g} s of CPU time.")
        if len(pids) > 2 * limits.processes:
            self._kill(f"The session had more than its {limits.processes} processes.")
        if self._box.files() > _FILES:
            self._kill(f"The session made more than {_FILES} files.")
        if pids and _sockets(pids[0]) > _SOCKETS:
            self._kill(f"The session opened more than {_SOCKETS} sockets.")
        self.own_bytes = sum(map(_own_bytes, pids))
        used = sum(map(_rss_bytes, pids))
        if used > limits.memory_bytes:
            used = sum(map(_pss_bytes, pids))
        if used > limits.memory_bytes:
            self._kill(f"The session used more than its {spelled(limits.memory_bytes)} of memory.")
        return used > limits.memory_bytes // 2


class _Cpu:
    """CPU time of a sandbox, added up in two ways, of which the larger counts.

    One is what the processes report of themselves and of their ended children. The other is what each process
    was seen to use, since a process may hide its children."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._seen: dict[int, int] = {}
        self._seen_ticks = self._last = 0

    def count(self, pids: Sequence[int]) -> bool:
        """Add up the CPU time of these processes. Return True if any was used since the last call."""
        times = {pid: _cpu_ticks(pid) for pid in pids}
        reported = sum(own + ended for own, ended in times.values())
        seen = {pid: own for pid, (own, _) in times.items()}
        self._seen_ticks += sum(max(0, own - self._seen.get(pid, 0)) for pid, own in seen.items())
        self._seen = seen
        self.total_s = max(self.total_s, self._seen_ticks / _TICKS_PER_S, reported / _TICKS_PER_S)
        last, self._last = self._last, reported
        return reported != last


def _cpu_ticks(pid: int) -> tuple[int, int]:
    """Return the CPU ticks of a process, and those of its children that have ended."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        user, system, children_user, children_system = map(int, fields[11:15])
        return user + system, children_user + children_system
    return 0, 0


def _rss_bytes(pid: int) -> int:
    """Return the resident memory of a process. Pages that several processes share count for each."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(read(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
    return 0


def _own_bytes(pid: int) -> int:
    """Return the resident memory of a process without pages of files and shared memory."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        resident, shared = map(int, read(f"/proc/{pid}/statm").split()[1:3])
        return (resident - shared) * _PAGE_BYTES
    return 0


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _rss_bytes(pid)


def _sockets(pid: int) -> int:
    """Return the number of sockets in the network namespace of a process, or 0 if it is this server's own."""
    with contextlib.suppress(OSError, ValueError):
        if os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:  # noqa: PTH116 (as `read`)
            return int(read(f"/proc/{pid}/net/sockstat").split(maxsplit=3)[2])
    return 0
