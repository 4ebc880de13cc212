"""Looking at real processes."""

import asyncio
from collections.abc import Iterable

import psutil
from tests.support.patience import limit


def running(pid: int) -> bool:
    """False for what has ended, even if nobody has collected it yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(pids: Iterable[int], within_s: float = 60.0) -> None:
    """Returns when none of them runs; raises TimeoutError."""
    waiting = set(pids)
    async with asyncio.timeout(limit(within_s)):
        while waiting := {pid for pid in waiting if running(pid)}:
            await asyncio.sleep(0.02)
