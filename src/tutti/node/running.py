"""One run of a program: started, found healthy, watched until it has to end."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutti.base.clock import monotonic_s
from tutti.base.program import Program, Progress
from tutti.compute.base import Handle
from tutti.node.stall import Stall
from tutti.node.workload import Gauge
from tutti.process.probe import get

_HEALTH_S = 0.05
_POLL_S = 2.0
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Running:
    program: Program
    handle: Handle
    gauge: Gauge | None

    async def healthy(self) -> str:
        """Return an empty text once it is healthy, or the reason why it won't be."""
        try:
            async with asyncio.timeout(self.program.start_timeout_s):
                return await first(self._exit(), self._answers())
        except TimeoutError:
            return f"it was not ready after {self.program.start_timeout_s:.0f} s"

    async def ends(self, hang_timeout_s: float) -> str:
        """Wait until it has ended, or has to be ended, and return why."""
        if self.gauge is None:
            return await self._exit()
        return await first(self._exit(), self._stands_still(self.gauge, hang_timeout_s))

    async def busy(self) -> bool:
        """Return whether it works on anything. One that does not answer is taken to be busy."""
        if self.gauge is None:
            return False
        progress = await self._progress(self.gauge)
        return progress is None or progress.busy > 0

    async def _progress(self, gauge: Gauge) -> Progress | None:
        """Return its progress; None if it does not answer."""
        try:
            status, body = await get(self.handle.address + gauge.path, _ANSWER_S)
            return gauge.read(body) if status == 200 else None
        except (OSError, ValueError):
            return None

    async def _exit(self) -> str:
        status = await self.handle.wait()
        return (
            f"it was killed by signal {status - 128}" if status > 128 else f"it exited with status {status}"
        )

    async def _answers(self) -> str:
        health = self.handle.address + self.program.health_path
        while True:
            with suppress(OSError, ValueError):
                status, _ = await get(health, _ANSWER_S)
                if status == 200:
                    return ""
            await asyncio.sleep(_HEALTH_S)

    async def _stands_still(self, gauge: Gauge, hang_timeout_s: float) -> str:
        stall = Stall(monotonic_s(), hang_timeout_s)
        while True:
            moves = stall.moves(await self._progress(gauge), monotonic_s())
            if not moves and (why := stall.why(self.handle.cpu_s(), monotonic_s())):
                return why
            await asyncio.sleep(min(_POLL_S, hang_timeout_s / 4))


async def first(*coroutines: Coroutine[Any, Any, str]) -> str:
    """Return the result of the one that is done first, and cancel the others."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def last_lines(log: Path, limit: int = 2000) -> str:
    """Return the end of a program's log, for people: at most `limit` bytes."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - limit))
        return file.read().decode(errors="replace").strip()
    return ""
