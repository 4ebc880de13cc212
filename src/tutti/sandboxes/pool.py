"""A pool of sessions that are started ahead of demand, so that clients don't wait for the start."""

import asyncio
import os
from collections import defaultdict, deque
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tutti.base.errors import CannotSandbox, TuttiError
from tutti.sandboxes.base import Driver, Limits, Spec
from tutti.sandboxes.egress import Egress
from tutti.sandboxes.session import Session, SessionDied
from tutti.sandboxes.turns import Turns
from tutti.sandboxes.uids import Uids

_STARTS_AT_ONCE = max(2, os.cpu_count() or 1) + 1
"""Sessions that start at the same time. More would only slow each other down. One project gets one fewer."""
_REFILL_AFTER_S = 0.1
"""Delay before a spare session is started, so that it does not slow down the first execution of the taken
one."""
_NOBODY = ""
"""The project id under which spare sessions are started."""
_FIRST = "pass"
"""Code that is run once in each new session: a first execution takes ten times as long as later ones."""


class Pool:
    """Ready sessions. Each one that `take` returns must be given back to `end`. There are spare sessions of
    each kind that was requested before: with the network or without."""

    def __init__(self, driver: Driver, environment: Path, limits: Limits, *, most: int, spare: int) -> None:
        self._driver = driver
        self._environment = environment
        self._limits = limits
        self._wanted = spare
        self._uids = Uids(2 * (most + 2 * spare)) if os.geteuid() == 0 else None
        self._held: dict[Session, AsyncExitStack] = {}
        self._spare: defaultdict[bool, deque[Session]] = defaultdict(deque)
        self._filling: dict[bool, asyncio.Task[None]] = {}
        self._starts = Turns(_STARTS_AT_ONCE)

    async def fill(self, *, network: bool = False) -> None:
        """Start the missing spare sessions. Raise CannotSandbox if one does not start."""
        spare = self._spare[network]
        while len(spare) < self._wanted:
            spare.append(await self._start(_NOBODY, network=network))

    async def take(self, project_id: str, *, network: bool = False, leave: int = 0) -> Session:
        """Return a spare session, or start one. `leave` is the number of spare ones to leave for others.
        Raise CannotSandbox if it does not start."""
        spare = self._spare[network]
        while len(spare) > leave:
            session = spare.popleft()
            if session.dead is None:
                self._refill(network=network)
                return session
            await self.end(session)
        session = await self._start(project_id, network=network)
        self._refill(network=network)
        return session

    async def end(self, session: Session) -> None:
        """End a session. Its user id is free again when its last process is gone."""
        await self._held.pop(session).aclose()

    async def close(self) -> None:
        filling = list(self._filling.values())
        for task in filling:
            task.cancel()
        await asyncio.gather(*filling, return_exceptions=True)
        await asyncio.gather(*(self.end(session) for spare in self._spare.values() for session in spare))
        self._spare.clear()

    def _refill(self, *, network: bool) -> None:
        task = self._filling.get(network)
        if task is None or task.done():
            self._filling[network] = asyncio.create_task(self._try_fill(network=network))

    async def _try_fill(self, *, network: bool) -> None:
        await asyncio.sleep(_REFILL_AFTER_S)
        try:
            await self.fill(network=network)
        except (TuttiError, OSError):
            return  # the next `take` tries again, and raises the reason

    async def _start(self, project_id: str, *, network: bool) -> Session:
        async with self._starts.taken(project_id), AsyncExitStack() as held:
            uid, proxy = self._uid(held), await self._proxy(held) if network else None
            session = await Session.start(self._driver, Spec(self._environment, self._limits, uid, proxy))
            held.push_async_callback(session.close)
            await _warm(session)
            self._held[session] = held.pop_all()
        return session

    def _uid(self, held: AsyncExitStack) -> int | None:
        if self._uids is None:
            return None
        uid = self._uids.take()
        held.callback(self._uids.give, uid)
        return uid

    async def _proxy(self, held: AsyncExitStack) -> Path:
        """Start a proxy for one session and return its socket. Each session has its own, with limits of its
        own. The socket is not in the data folder, because a socket's path has at most 107 bytes."""
        path = Path(held.enter_context(TemporaryDirectory(prefix="tutti-egress-"))) / "socket"
        egress = await Egress.start(path)
        held.push_async_callback(egress.close)
        return path


async def _warm(session: Session) -> None:
    try:
        await session.execute(_FIRST)
    except SessionDied as error:
        raise CannotSandbox(f"A sandbox started, but then: {error.reason}") from error
