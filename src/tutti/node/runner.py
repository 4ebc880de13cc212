"""One replica on this node: from the want that asked for it to its end.

pulling ──> (room is made) ──> starting ──> ready ──> draining ──> gone
   │                              ^ │ └──────┘  it ended: once more, after a pause
   └──────> failed <──────────────┘  it ended five times in a row before it was ready
"""

import asyncio
import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import psutil

from tutti.base.clock import monotonic_s
from tutti.base.errors import TuttiError
from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog, folder_name
from tutti.catalog.manifest import folder_size_bytes
from tutti.catalog.sources.base import PullFailed
from tutti.compute.base import Driver
from tutti.engines.base import Engine
from tutti.engines.place import Adapter, Place
from tutti.meeting.replicas import Rows
from tutti.meeting.wants import key_of
from tutti.node import enginelog
from tutti.node.adapters import Adapters
from tutti.node.eviction import Share
from tutti.node.room import Room
from tutti.node.running import Running, first, last_lines
from tutti.process.supervisor import Backoff, Pace

if TYPE_CHECKING:
    from tutti.catalog.pull.progress import PullProgress

_MOST_FAILURES = 5
_REPORT_S = 0.5
_MEASURE_S = 5.0
_LEAVE_GRACE_S = 1.0
"""API workers see a mark on a replica within 0.5 s; a request on its way gets the rest."""
_LEAVE_LOOK_S = 0.1
log = logging.getLogger(__name__)


class Failed(Exception):
    """For good: the text says why."""


@dataclass(frozen=True)
class Node:
    """What the replicas of a node share."""

    settings: Settings
    catalog: Catalog
    engines: Mapping[str, Engine]
    driver: Driver
    rows: Rows
    room: Room
    pace: Pace


class Runner:
    def __init__(self, node: Node, model: Model) -> None:
        self.id = new_id("replica")
        self.model = model
        self.key = key_of(model)
        self.state = "pulling"
        self.detail = ""
        self.pulled: PullProgress | None = None
        self.gone = asyncio.Event()
        self.adapters = Adapters()
        self.address = ""
        self.slots = 1
        self._node = node
        self._memory_bytes = 0
        self.restarts = 0
        self._pausing = False
        self._running: Running | None = None
        self._leaving = asyncio.Event()

    # --- as an occupant of the node's room ------------------------------------------------------------

    @property
    def evictable(self) -> bool:
        return (self.state == "ready" or self._pausing) and not self._leaving.is_set()

    async def busy(self) -> bool:
        if self._running is None:
            return False
        progress = await self._running.progress()
        return progress is None or progress.busy > 0

    async def evict(self) -> None:
        self._leaving.set()
        await self.gone.wait()

    # --- its life -------------------------------------------------------------------------------------

    async def run(self, *, may_pull: bool) -> None:
        """Returns when the replica is gone or has failed; cancelled, it stops the engine at once."""
        try:
            await self._pull(may_pull)
            await self._serve()
            await self._node.rows.remove(self.id)
        except (Failed, PullFailed, TuttiError) as error:
            log.error("a model cannot be served", extra={"model": self.model.name, "cause": str(error)})
            await self._set("failed", str(error))
        except Exception as error:
            log.exception("a replica failed unexpectedly", extra={"model": self.model.name})
            await self._set("failed", f"internal error ({type(error).__name__}); the log has the details")
        finally:
            self._node.room.leave(self.id)
            self.gone.set()
            self.adapters.tell()

    async def report(self) -> None:
        """Writes its row, also where it had been deleted."""
        await self._node.rows.save(
            self.id,
            model=self.model,
            state=self.state,
            detail=self.detail,
            address=self.address,
            slots=self.slots,
            memory_bytes=self._memory_bytes,
            restarts=self.restarts,
        )

    async def _pull(self, may_pull: bool) -> None:
        catalog, settings = self._node.catalog, self._node.settings
        if catalog.is_pulled(self.model):
            return
        if not may_pull:
            raise Failed(f"its weights are not here; `tutti pull {self.model.name}` fetches them")
        reporting = asyncio.create_task(self._report_pull())
        try:
            folder, engines = catalog.folder(self.model), self._node.engines
            await _puller().pull(self.model, folder, settings, engines, self._pull_moved)
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _pull_moved(self, progress: "PullProgress") -> None:
        self.pulled = progress

    async def _report_pull(self) -> None:
        while True:
            await self._set("pulling", _pull_text(self.pulled))
            await asyncio.sleep(_REPORT_S)

    async def _serve(self) -> None:
        engine = self._node.engines.get(self.model.engine)
        if engine is None:
            raise Failed(f"this server has no engine {self.model.engine}")
        self.slots = engine.slots(self.model)
        everything = self._place(0, tuple(range(self._node.room.whole.gpus)))
        program = engine.program(self.model, everything)
        if program is None:
            self.address = engine.address(self.model)
            await self._set("ready")
            await self._leaving.wait()
            return
        self._memory_bytes = engine.memory_bytes(self.model) or folder_size_bytes(everything.folder)
        gpus = await self._take_room(program.gpus)
        await self._keep_running(engine, gpus)

    async def _take_room(self, gpus: int) -> tuple[int, ...]:
        room = self._node.room
        needed = Share(0 if gpus else self._memory_bytes, gpus)
        if not needed.fits(room.whole):
            raise Failed(_too_large(needed, room.whole))
        await self._set("starting", "waiting for memory")
        return await room.take(self, needed)

    async def _keep_running(self, engine: Engine, gpus: tuple[int, ...]) -> None:
        backoff = Backoff(self._node.pace)
        failures = 0
        while not self._leaving.is_set():
            await self._set("starting", self.detail if self.restarts else "loading")
            began = monotonic_s()
            reason = await self._run_once(engine, gpus)
            if not self._leaving.is_set() and reason and not self._without_new_adapters():
                failures = 0 if self.state == "ready" else failures + 1
                if failures >= _MOST_FAILURES:
                    raise Failed(f"{reason}\n{last_lines(self._log)}".strip())
                await self._pause(reason, backoff.pause_s(monotonic_s() - began))

    async def _run_once(self, engine: Engine, gpus: tuple[int, ...]) -> str:
        """Why the engine ended; empty where it was told to leave, or to start again with more adapters."""
        self.adapters.take()
        place = self._place(self._node.driver.free_port(), gpus)
        program = engine.program(self.model, place)
        if program is None:
            raise Failed("its engine has nothing to run any more")
        enginelog.keep(self._log)
        handle = await self._node.driver.start(program, self._log, gpus)
        running = self._running = Running(engine, program, handle)
        reason = ""
        try:
            reason = await running.healthy()
            if not reason:
                await self._becomes_ready(running)
                hang_timeout_s = self._node.settings.hang_timeout_s
                reason = await first(
                    running.ends(hang_timeout_s), self._leaves(), self._refits(), self._grows(running)
                )
                await self._tell_why(reason)
            return reason
        finally:
            self._running = None
            if reason:
                handle.kill()
            await handle.stop()

    async def _tell_why(self, reason: str) -> None:
        """Before the engine is killed: then its requests break off, and say why."""
        if reason:
            self.detail = reason
            await self.report()

    async def _becomes_ready(self, running: Running) -> None:
        self.address = running.handle.address
        self._measure(running)
        self.adapters.proved()
        await self._set("ready")

    async def _pause(self, reason: str, pause_s: float) -> None:
        self.restarts += 1
        log.warning(
            "an engine ended; starting it again",
            extra={"model": self.model.name, "cause": reason, "pause_s": pause_s},
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
        """Once told to: gets no new requests, and finishes those it has."""
        await self._leaving.wait()
        await self._set("draining", "making room for another model")
        return await self._finishes()

    async def _refits(self) -> str:
        """Once an adapter is asked for that the engine was not started with."""
        while self.adapters.complete:
            await self.adapters.next_change().wait()
        await self._set("starting", "finishing requests, to start again with another adapter")
        return await self._finishes()

    async def _finishes(self) -> str:
        await asyncio.sleep(_LEAVE_GRACE_S)
        while True:
            if not await self.busy():
                return ""
            await asyncio.sleep(_LEAVE_LOOK_S)

    def _without_new_adapters(self) -> bool:
        """True where there are adapters that the engine has never run with: they are taken to be the cause,
        and left out."""
        return self.state != "ready" and self.adapters.refuse(last_lines(self._log))

    async def _grows(self, running: Running) -> str:
        while True:
            await asyncio.sleep(_MEASURE_S)
            enginelog.cut(self._log)
            if self._measure(running):
                await self.report()

    def _measure(self, running: Running) -> bool:
        """The most it was seen to take counts from now on; true where that changed."""
        seen = running.handle.rss_bytes()
        known = self._memory_bytes if self.state == "ready" else 0
        if seen <= known * 1.05:
            return False
        self._memory_bytes = seen
        self._node.room.measured(self.id, seen)
        return True

    # --- small parts ----------------------------------------------------------------------------------

    async def _set(self, state: str, detail: str = "") -> None:
        self.state, self.detail = state, detail
        await self.report()
        self.adapters.tell()

    def _place(self, port: int, gpus: tuple[int, ...]) -> Place:
        settings = self._node.settings
        return Place(
            folder=self._node.catalog.folder(self.model),
            port=port,
            threads=settings.threads or psutil.cpu_count(logical=False) or 1,
            gpus=gpus,
            vllm_python=settings.vllm_python,
            hub_token=settings.hub_token,
            adapters=tuple(Adapter(it, self._node.catalog.folder(it)) for it in self.adapters.loaded),
        )

    @property
    def _log(self) -> Path:
        return self._node.settings.data_dir / "logs" / f"{folder_name(self.model)}.log"


def _puller() -> ModuleType:
    """Loaded when there is something to pull: an HTTP client is a tenth of the controller's memory."""
    return importlib.import_module("tutti.catalog.pull.pull")


def _pull_text(progress: "PullProgress | None") -> str:
    if progress is None or not progress.total_bytes:
        return "pulling" if progress is None else progress.state
    percent = 100 * progress.done_bytes // progress.total_bytes
    return f"{progress.state} {percent}% of {progress.total_bytes / 1e6:.0f} MB"


def _too_large(needed: Share, whole: Share) -> str:
    if needed.gpus > whole.gpus:
        return f"it needs {needed.gpus} GPUs, and this machine has {whole.gpus}"
    return (
        f"it needs about {needed.memory_bytes / 1e9:.1f} GB of memory, "
        f"and the budget is {whole.memory_bytes / 1e9:.1f} GB (--memory-budget)"
    )
