"""One run of one engine process: started, found healthy, watched until it has to end."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutti.base.clock import monotonic_s
from tutti.base.program import Program
from tutti.compute.base import Handle
from tutti.engines.base import Engine
from tutti.engines.place import Progress
from tutti.node.stall import Stall
from tutti.process.probe import get

_HEALTH_S = 0.05
_POLL_S = 2.0
_ANSWER_S = 5.0


@dataclass(frozen=True)
class Running:
    engine: Engine
    program: Program
    handle: Handle

    async def healthy(self) -> str:
        """Empty once it is; otherwise why it will not be."""
        try:
            async with asyncio.timeout(self.program.start_timeout_s):
                return await first(self._exit(), self._answers())
        except TimeoutError:
            return f"it was not ready after {self.program.start_timeout_s:.0f} s"

    async def ends(self, hang_timeout_s: float) -> str:
        """Why it has ended, or has to be ended."""
        return await first(self._exit(), self._stands_still(hang_timeout_s))

    async def progress(self) -> Progress | None:
        """None where it does not answer."""
        try:
            status, body = await get(self.handle.address + self.engine.progress_path, _ANSWER_S)
            return self.engine.progress(body) if status == 200 else None
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

    async def _stands_still(self, hang_timeout_s: float) -> str:
        stall = Stall(monotonic_s(), hang_timeout_s)
        while True:
            moves = stall.moves(await self.progress(), monotonic_s())
            if not moves and (why := stall.why(self.handle.cpu_s(), monotonic_s())):
                return why
            await asyncio.sleep(min(_POLL_S, hang_timeout_s / 4))


async def first(*coroutines: Coroutine[Any, Any, str]) -> str:
    """The result of whichever is done first; the others are cancelled."""
    tasks = [asyncio.create_task(it) for it in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def last_lines(log: Path, limit: int = 2000) -> str:
    """What the program said last, for people."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - limit))
        return file.read().decode(errors="replace").strip()
    return ""
