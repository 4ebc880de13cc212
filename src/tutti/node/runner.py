"""The life of one workload on this node: from the want that asked for it to its end.

preparing ──> (room is made) ──> starting ──> ready ──> draining ──> gone
   │                                ^ │ └──────┘  it ended: once more, after a pause
   └────────> failed <──────────────┘  it ended five times in a row before it was ready

The state of one that prepares itself has a name of the workload's own; a model is `pulling` its weights.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import psutil

from tutti.base.clock import monotonic_s
from tutti.base.errors import TuttiError
from tutti.base.ids import new_id
from tutti.base.program import NO_SHARE, Share
from tutti.base.settings import Settings
from tutti.compute.base import Driver
from tutti.meeting.replicas import Rows
from tutti.node import enginelog
from tutti.node.room import Room
from tutti.node.running import Running, first, last_lines
from tutti.node.workload import CannotRun, Site, Workload
from tutti.process.supervisor import Backoff, Pace
from tutti.store.records import Replica

_MOST_FAILURES = 5
_MEASURE_S = 5.0
_LEAVE_GRACE_S = 1.0
"""API workers see a mark on a replica within 0.5 s; a request on its way gets the rest."""
_LEAVE_LOOK_S = 0.1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """The means that the workloads of a node share."""

    settings: Settings
    driver: Driver
    rows: Rows
    room: Room
    pace: Pace


class Runner:
    """Takes room for a workload, starts its program, watches it, and keeps its row. `asked` is the share that
    the want names; empty: the workload says what it needs."""

    def __init__(self, node: Node, workload: Workload, asked: Share = NO_SHARE) -> None:
        self.id = new_id("replica")
        self.key = workload.key
        self.workload = workload
        self.state = workload.preparing
        self.detail = ""
        self.gone = asyncio.Event()
        self.address = ""
        self.restarts = 0
        self._node = node
        self._asked = asked
        self._memory_bytes = 0
        self._pausing = False
        self._running: Running | None = None
        self._leaving = asyncio.Event()

    # --- as an occupant of the node's room ------------------------------------------------------------

    @property
    def evictable(self) -> bool:
        return (self.state == "ready" or self._pausing) and not self._leaving.is_set()

    async def busy(self) -> bool:
        return self._running is not None and await self._running.busy()

    async def evict(self) -> None:
        self._leaving.set()
        await self.gone.wait()

    # --- its row --------------------------------------------------------------------------------------

    def row(self) -> Replica:
        """Make the row with which the want is claimed."""
        columns = self.workload.columns
        return self._node.rows.new(self.id, self.key, self.workload.entry, state=self.state, **columns)

    async def report(self) -> None:
        """Write its row, also where it had been deleted."""
        await self._node.rows.save(
            self.id,
            self.key,
            self.workload.entry,
            state=self.state,
            detail=self.detail,
            address=self.address,
            memory_bytes=self._memory_bytes,
            restarts=self.restarts,
            **self.workload.columns,
        )

    async def _set(self, state: str, detail: str = "") -> None:
        self.state, self.detail = state, detail
        await self.report()
        self.workload.changed()

    # --- its life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Return when the workload is gone or has failed. If cancelled, stop its program at once."""
        try:
            await self.workload.prepare(self._tell)
            await self._serve()
            await self._node.rows.remove(self.id)
        except (CannotRun, TuttiError) as error:
            log.error("a workload cannot run", extra={**self._names, "cause": str(error)})
            await self._set("failed", str(error))
        except Exception as error:
            log.exception("a workload failed unexpectedly", extra=self._names)
            await self._set("failed", f"internal error ({type(error).__name__}); the log has the details")
        finally:
            self._node.room.leave(self.id)
            self.gone.set()
            self.workload.changed()

    async def _tell(self, detail: str) -> None:
        await self._set(self.workload.preparing, detail)

    async def _serve(self) -> None:
        own = self.workload.share(self._node.room.whole)
        if own is None:
            self.address = self.workload.address()
            await self._set("ready")
            await self._leaving.wait()
            return
        share = own if self._asked == NO_SHARE else self._asked
        self._memory_bytes = share.memory_bytes
        gpus = await self._take_room(share)
        await self._keep_running(gpus)

    async def _take_room(self, share: Share) -> tuple[int, ...]:
        room = self._node.room
        needed = Share(0 if share.gpus else share.memory_bytes, share.gpus)
        if not needed.fits(room.whole):
            raise CannotRun(_too_large(needed, room.whole))
        await self._set("starting", "waiting for memory")
        return await room.take(self, needed)

    async def _keep_running(self, gpus: tuple[int, ...]) -> None:
        backoff = Backoff(self._node.pace)
        failures = 0
        while not self._leaving.is_set():
            await self._set("starting", self.detail if self.restarts else "loading")
            began = monotonic_s()
            reason = await self._run_once(gpus)
            if not self._leaving.is_set() and reason and not self._has_adapted():
                failures = 0 if self.state == "ready" else failures + 1
                if failures >= _MOST_FAILURES:
                    raise CannotRun(f"{reason}\n{last_lines(self._log)}".strip())
                await self._pause(reason, backoff.pause_s(monotonic_s() - began))

    async def _run_once(self, gpus: tuple[int, ...]) -> str:
        """Return why the program ended. Empty: it was told to leave, or outgrown by what is wanted."""
        driver = self._node.driver
        program = self.workload.program(Site(driver.free_port(), gpus, self._threads))
        enginelog.keep(self._log)
        handle = await driver.start(program, self._log, gpus)
        running = self._running = Running(program, handle, self.workload.gauge)
        reason = ""
        try:
            reason = await running.healthy()
            if not reason:
                await self._becomes_ready(running)
                hang_timeout_s = self._node.settings.hang_timeout_s
                reason = await first(
                    running.ends(hang_timeout_s), self._leaves(), self._is_outgrown(), self._grows(running)
                )
                await self._tell_why(reason)
            return reason
        finally:
            self._running = None
            if reason:
                handle.kill()
            await handle.stop()

    async def _tell_why(self, reason: str) -> None:
        """Write the reason before the program is killed: then its requests break off, and say why."""
        if reason:
            self.detail = reason
            await self.report()

    async def _becomes_ready(self, running: Running) -> None:
        self.address = running.handle.address
        self._measure(running)
        self.workload.became_ready()
        await self._set("ready")

    async def _pause(self, reason: str, pause_s: float) -> None:
        self.restarts += 1
        log.warning(
            "a program ended; starting it again", extra={**self._names, "cause": reason, "pause_s": pause_s}
        )
        self._pausing = True
        await self._set("starting", f"starting again: {reason}")
        try:
            async with asyncio.timeout(pause_s):
                await self._leaving.wait()
        except TimeoutError:
            pass
        finally:
            self._pausing = False

    async def _leaves(self) -> str:
        """Wait until it is told to leave. From then on it gets no new requests, and finishes those it has."""
        await self._leaving.wait()
        await self._set("draining", "making room for another model")
        return await self._finishes()

    async def _is_outgrown(self) -> str:
        doing = await self.workload.outgrows()
        await self._set("starting", doing)
        return await self._finishes()

    async def _finishes(self) -> str:
        await asyncio.sleep(_LEAVE_GRACE_S)
        while True:
            if not await self.busy():
                return ""
            await asyncio.sleep(_LEAVE_LOOK_S)

    def _has_adapted(self) -> bool:
        return self.state != "ready" and self.workload.has_adapted(last_lines(self._log))

    # --- its memory -----------------------------------------------------------------------------------

    async def _grows(self, running: Running) -> str:
        while True:
            await asyncio.sleep(_MEASURE_S)
            enginelog.cut(self._log)
            if self._measure(running):
                await self.report()

    def _measure(self, running: Running) -> bool:
        """Count the most that it was seen to take from now on, instead of the workload's own estimate. What
        the want asked for stays its own, used or not. Return whether the count has changed."""
        measured = running.handle.rss_bytes()
        known = self._memory_bytes if self.state == "ready" or self._asked != NO_SHARE else 0
        if measured <= known * 1.05:
            return False
        self._memory_bytes = measured
        self._node.room.measured(self.id, measured)
        return True

    # --- small parts ----------------------------------------------------------------------------------

    @property
    def _threads(self) -> int:
        return self._node.settings.threads or psutil.cpu_count(logical=False) or 1

    @property
    def _log(self) -> Path:
        return self._node.settings.data_dir / "logs" / f"{self.workload.log_name}.log"

    @property
    def _names(self) -> dict[str, str]:
        return {self.key.kind: self.key.name}


def _too_large(needed: Share, whole: Share) -> str:
    if needed.gpus > whole.gpus:
        return f"it needs {needed.gpus} GPUs, and this machine has {whole.gpus}"
    return (
        f"it needs about {needed.memory_bytes / 1e9:.1f} GB of memory, "
        f"and the budget is {whole.memory_bytes / 1e9:.1f} GB (--memory-budget)"
    )
