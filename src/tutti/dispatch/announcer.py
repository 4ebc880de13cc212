"""The clients' side of dispatch/background: API workers announce the compute that clients' requests use."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from tutti.base.clock import monotonic_s
from tutti.base.model import Model
from tutti.dispatch.background import BEAT_S, LOOK_S
from tutti.engines.base import Engine
from tutti.engines.upstream import Upstream


class Announcer:
    """Counts the running requests of clients by the compute they use, and announces which is in use."""

    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic_s) -> None:
        self._folder = folder
        self._clock = clock
        self._live: dict[str, int] = {}
        self._announced: frozenset[str] = frozenset()
        self._listeners: list[str] = []
        self._searched_at = float("-inf")
        self._first = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def start(self) -> None:
        self._announcing = asyncio.create_task(self._keep_announcing())

    async def close(self) -> None:
        self._announcing.cancel()
        await asyncio.wait([self._announcing])
        self._socket.close()

    async def begin(self, engine: Engine, model: Model) -> "_LiveTurn":
        share = engine.shares(model)
        if share:
            self._live[share] = self._live.get(share, 0) + 1
            if share not in self._announced:
                self._announce(self._announced | {share})
                self._first.set()
        return _LiveTurn(self._live, share)

    async def _keep_announcing(self) -> None:
        while True:
            self._find_listeners()
            self._announce(frozenset(self._live))
            if self._live:
                await asyncio.sleep(BEAT_S)
                continue
            self._first.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._first.wait()

    def _find_listeners(self) -> None:
        if self._clock() - self._searched_at < LOOK_S:
            return
        self._searched_at = self._clock()
        with contextlib.suppress(OSError):
            self._listeners = [
                entry.path for entry in os.scandir(self._folder) if entry.name.endswith(".sock")
            ]

    def _announce(self, shares: frozenset[str]) -> None:
        self._announced = shares
        if not shares:
            return
        data = msgspec.json.encode(sorted(shares))
        for path in tuple(self._listeners):
            try:
                self._socket.sendto(data, path)
            except BlockingIOError:
                continue  # it has many datagrams to read already
            except OSError:
                # It was left behind by a job worker that was killed. No other will have its name.
                self._listeners.remove(path)
                with contextlib.suppress(OSError):
                    Path(path).unlink()


class _LiveTurn:
    __slots__ = ("_live", "_share")

    def __init__(self, live: dict[str, int], share: str) -> None:
        self._live = live
        self._share = share

    def upstream(self, upstream: Upstream) -> Upstream:
        return upstream

    def end(self) -> None:
        if not self._share:
            return
        left = self._live[self._share] - 1
        if left:
            self._live[self._share] = left
        else:
            del self._live[self._share]
