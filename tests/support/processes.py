"""Looking at real processes."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import psutil
from tests.support.patience import limit


def running(pid: int) -> bool:
    """Return False for a process that has ended, even if nobody has collected it yet. Its sockets are open
    until its last thread has ended, a moment after the first one."""
    try:
        is_zombie = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return not is_zombie or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False


async def gone(pids: Iterable[int], within_s: float = 60.0) -> None:
    """Returns when none of them runs; raises TimeoutError."""
    waiting = set(pids)
    async with asyncio.timeout(limit(within_s)):
        while waiting := {pid for pid in waiting if running(pid)}:
            await asyncio.sleep(0.02)
