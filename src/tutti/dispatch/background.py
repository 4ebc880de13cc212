"""Requests of jobs wait for those of clients.

Where an engine's requests take compute from one another, `Engine.shares` names that compute. As long as
clients' requests for it run or wait, every API worker says so ten times a second, and at once for the first
one, by a datagram to each job worker of the node. A job worker begins nothing on compute that was named in
the last LINGER_S, and breaks off what it has there: the job asks again, and waits. Nobody adds up anything,
so neither a lost datagram nor a killed API worker does lasting harm.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Protocol, cast

import msgspec

from tutti.base.clock import monotonic_s
from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.engines.base import Engine
from tutti.engines.upstream import Upstream

PREEMPTED = "preempted"
"""Code of the error of a request that was broken off."""
BEAT_S = 0.1
LINGER_S = 0.5
_LOOK_S = 0.5
"""How often an API worker looks for new job workers."""
_AGAIN_S = 0.05
_LONGEST_PATH = 90
"""Of a socket's name, most systems take a little over 100 bytes."""

log = logging.getLogger(__name__)


class Turn(Protocol):
    """One request's part in the traffic, from before it waits for a slot until it is done."""

    def upstream(self, upstream: Upstream) -> Upstream: ...

    def end(self) -> None: ...


class Traffic(Protocol):
    """Clients' requests as `Announcer` sees them, jobs' requests as `Listener` does."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def begin(self, engine: Engine, model: Model) -> Turn: ...


def meeting_place(data_dir: Path) -> Path:
    """The folder of the job workers' sockets."""
    folder = data_dir.absolute() / "run"
    if len(os.fsencode(folder)) <= _LONGEST_PATH - 30:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tutti-{os.getuid()}-{name}"


# --- clients' requests ------------------------------------------------------------------------------------


class Announcer:
    def __init__(self, folder: Path, clock: Callable[[], float] = monotonic_s) -> None:
        self._folder = folder
        self._clock = clock
        self._live: dict[str, int] = {}
        self._told: frozenset[str] = frozenset()
        self._ears: list[str] = []
        self._looked_at = float("-inf")
        self._first = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    async def start(self) -> None:
        self._telling = asyncio.create_task(self._keep_telling())

    async def close(self) -> None:
        self._telling.cancel()
        await asyncio.wait([self._telling])
        self._socket.close()

    async def begin(self, engine: Engine, model: Model) -> "_LiveTurn":
        share = engine.shares(model)
        if share:
            self._live[share] = self._live.get(share, 0) + 1
            if share not in self._told:
                self._tell(self._told | {share})
                self._first.set()
        return _LiveTurn(self._live, share)

    async def _keep_telling(self) -> None:
        while True:
            self._look()
            self._tell(frozenset(self._live))
            if self._live:
                await asyncio.sleep(BEAT_S)
                continue
            self._first.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._first.wait()

    def _look(self) -> None:
        if self._clock() - self._looked_at < _LOOK_S:
            return
        self._looked_at = self._clock()
        with contextlib.suppress(OSError):
            self._ears = [entry.path for entry in os.scandir(self._folder) if entry.name.endswith(".sock")]

    def _tell(self, shares: frozenset[str]) -> None:
        self._told = shares
        if not shares:
            return
        data = msgspec.json.encode(sorted(shares))
        for ear in tuple(self._ears):
            try:
                self._socket.sendto(data, ear)
            except BlockingIOError:
                continue  # it has many to read already
            except OSError:
                self._ears.remove(ear)
                with contextlib.suppress(OSError):
                    Path(ear).unlink()  # left behind by one that was killed: no other will have its name


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


# --- jobs' requests ---------------------------------------------------------------------------------------


class Listener:
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
        self._deaf_until = self._clock() + _LOOK_S + 2 * BEAT_S  # until every API worker has seen the socket

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def begin(self, engine: Engine, model: Model) -> "_BackgroundTurn":
        """Waits until no client uses that compute."""
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
                self._hear(self._socket.recv(65536))

    def _hear(self, data: bytes) -> None:
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
        """Around each wait for the engine: that is where a request is broken off, and nowhere else."""
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
