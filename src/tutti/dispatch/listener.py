"""The jobs' side of dispatch/background: job workers begin nothing on compute that clients use, and break off
the requests that they have there."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec

from tutti.base.clock import monotonic_s
from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.dispatch.background import BEAT_S, LINGER_S, LOOK_S, PREEMPTED
from tutti.engines.base import Engine
from tutti.engines.upstream import Upstream

_AGAIN_S = 0.05
log = logging.getLogger(__name__)


class Listener:
    """Receives the announcements of API workers, and preempts the requests of jobs on compute that they
    name."""

    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic_s) -> None:
        self._folder = folder
        self._clock = clock
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
        self._live_at: dict[str, float] = {}
        self._turns: set[_BackgroundTurn] = set()
        self._deaf_until = float("inf")

    async def start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        self._deaf_until = self._clock() + LOOK_S + 2 * BEAT_S  # until every API worker has seen the socket

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def begin(self, engine: Engine, model: Model) -> "_BackgroundTurn":
        """Wait until no client uses the engine's compute, and begin the request."""
        share = engine.shares(model)
        while share and not self.is_quiet(share):  # noqa: ASYNC110 - silence is not an event
            await asyncio.sleep(_AGAIN_S)
        turn = _BackgroundTurn(self._turns, engine, share)
        self._turns.add(turn)
        return turn

    def is_quiet(self, share: str) -> bool:
        now_s = self._clock()
        return now_s >= self._deaf_until and now_s - self._live_at.get(share, float("-inf")) > LINGER_S

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive(self._socket.recv(65536))

    def _receive(self, data: bytes) -> None:
        try:
            shares = msgspec.json.decode(data, type=list[str])
        except msgspec.MsgspecError:
            log.warning("a datagram that no API worker sends", extra={"size_bytes": len(data)})
            return
        now_s = self._clock()
        self._live_at.update(dict.fromkeys(shares, now_s))
        for turn in self._turns:
            if turn.share in shares:
                turn.preempt()


class _BackgroundTurn:
    def __init__(self, turns: "set[_BackgroundTurn]", engine: Engine, share: str) -> None:
        self.share = share
        self._turns = turns
        self._engine = engine
        self._preempted = False
        self._waiting: asyncio.Timeout | None = None

    def upstream(self, upstream: Upstream) -> Upstream:
        return _Preemptible(upstream, self, self._engine)

    def end(self) -> None:
        self._turns.discard(self)

    def preempt(self) -> None:
        if not self._preempted and self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
        self._preempted = True

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Enter around each wait for the engine: a request is broken off there, and nowhere else."""
        if self._preempted:
            raise _preempted()
        self._waiting = scope = asyncio.timeout(None)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise _preempted() from None
            raise
        finally:
            self._waiting = None


class _Preemptible:
    """An upstream whose requests stand behind those of clients, and can be broken off."""

    def __init__(self, upstream: Upstream, turn: _BackgroundTurn, engine: Engine) -> None:
        self._upstream = upstream
        self._turn = turn
        self._engine = engine

    @property
    def adapter(self) -> int:
        return self._upstream.adapter

    async def post(self, path: str, body: bytes) -> bytes:
        async with self._turn.waiting():
            return await self._upstream.post(path, self._engine.behind(body))

    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        async with self._turn.waiting():
            return await self._upstream.upload(path, content_type, body)

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        pieces = cast(AsyncGenerator[bytes], self._upstream.stream(path, self._engine.behind(body)))
        async with aclosing(pieces):
            while True:
                async with self._turn.waiting():
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece


def _preempted() -> Unavailable:
    return Unavailable("The request made way for one of a client.", code=PREEMPTED, retry_after_s=1)
