"""The sandbox host of this node, started by the controller when somebody wants to execute code."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s
from tutti.meeting import sandbox_hosts
from tutti.process import probe
from tutti.process.child import Child
from tutti.process.supervisor import Backoff, Pace
from tutti.store.db import Database

_LOOK_S = 0.5
_GRACE_S = 5.0
"""From SIGTERM to SIGKILL: for ending the sessions."""
_PACE = Pace(first_s=0.1)
log = logging.getLogger(__name__)


class SandboxHosts:
    """Runs one host at a time, while it is wanted, and kills it when it does not answer for `hang_timeout_s`.
    Its row goes with it, unless that says why it failed. One that died is started again when it is wanted
    again."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        node_id: str,
        database: Database,
        hang_timeout_s: float,
    ) -> None:
        self._argv = argv
        self._env = env
        self._node_id = node_id
        self._database = database
        self._hang_timeout_s = hang_timeout_s
        self._backoff = Backoff(_PACE)
        self._child: Child | None = None
        self._stopping = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ask it to end, and return when it has, at the latest after its grace."""
        self._stopping.set()
        if self._child is not None:
            self._child.terminate()
        await self._running

    async def _run(self) -> None:
        await self._forget(but_failed=False)  # what an earlier life of this node has left behind
        while not self._stopping.is_set():
            pause_s = _LOOK_S
            try:
                if await sandbox_hosts.is_wanted(self._database, self._node_id):
                    pause_s = await self._live()
            except (SQLAlchemyError, OSError) as error:
                log.warning("no look at the sandbox host", extra={"cause": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _live(self) -> float:
        """Start it, wait for its end, and return how long to wait after that."""
        began = monotonic_s()
        self._child = child = await Child.start(self._argv, self._env, grace_s=_GRACE_S)
        if self._stopping.is_set():
            child.terminate()
        watching = asyncio.create_task(self._watch(child))
        status = await child.wait()
        watching.cancel()
        self._child = None
        await self._forget(but_failed=status == 0)
        if status == 0 or self._stopping.is_set():
            return _LOOK_S
        pause_s = self._backoff.pause_s(monotonic_s() - began)
        log.warning("the sandbox host ended", extra={"status": status, "pause_s": pause_s})
        return pause_s

    async def _watch(self, child: Child) -> None:
        while True:
            await asyncio.sleep(self._hang_timeout_s / 2)
            try:
                for host in await sandbox_hosts.hosts(self._database, 0.0):
                    if host.node_id == self._node_id and host.state == "ready":
                        await probe.get(f"{host.address}/health", self._hang_timeout_s)
            except SQLAlchemyError as error:
                log.warning("no look at the sandbox host", extra={"cause": str(error)})
            except (OSError, ValueError):
                log.warning("the sandbox host hangs; it is killed")
                child.kill()

    async def _forget(self, *, but_failed: bool) -> None:
        """Delete its row. Try again until that is done or we are stopping: a row that is wrong would lead
        nowhere."""
        while True:
            try:
                await sandbox_hosts.remove(self._database, self._node_id, but_failed=but_failed)
                return
            except (SQLAlchemyError, OSError) as error:
                log.warning("the sandbox host's row is still there", extra={"cause": str(error)})
                if self._stopping.is_set():
                    return
            await asyncio.sleep(_LOOK_S)
