"""Requests during which an engine ended: any of them may be the cause.

They run again one at a time, beside requests that are not suspected. So if the engine ends again, it is known
which request was running, and that one is not run any more. A request that an engine answers is cleared.
Requests of a project with the same bytes count as the same; bytes are compared only while there are suspects.
Each process has its own suspects.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tutti.base.clock import monotonic_s
from tutti.base.errors import EndsEngine
from tutti.engines.upstream import Refusal

MOST_ENDS = 2
_KEPT_S = 3600.0
_MOST = 4096

Body = bytes | Sequence[bytes | Path]


@dataclass
class _Case:
    """One suspected request."""

    at: float
    ends: set[str] = field(default_factory=set[str])
    """The addresses of the engines that ended: each run of an engine has its own."""


class Suspects:
    """The suspected requests of this process, by their digest."""

    def __init__(self) -> None:
        self._cases: OrderedDict[bytes, _Case] = OrderedDict()
        self._turn = asyncio.Lock()

    async def note(self, request: bytes, address: str) -> None:
        """Note that an engine ended during the request. Raises EndsEngine where that was one time too
        many."""
        case = self._cases.pop(request, None) or _Case(0)
        case.at = monotonic_s()
        case.ends.add(address)
        self._cases[request] = case
        if len(self._cases) > _MOST:
            self._cases.popitem(last=False)
        self._check(case)

    @asynccontextmanager
    async def turn(self, request: bytes) -> AsyncGenerator[None]:
        """Enter around a request: suspected ones run one at a time. Raises EndsEngine for one that is not run
        any more."""
        if request not in self._cases:
            yield
            return
        async with self._turn:
            if (case := self._cases.get(request)) is not None:
                self._check(case)
            try:
                yield
            except Refusal:
                self._cases.pop(request, None)
                raise
            self._cases.pop(request, None)

    @property
    def are_there(self) -> bool:
        """True while there are suspects; those of long ago are forgotten first."""
        while self._cases and monotonic_s() - next(iter(self._cases.values())).at > _KEPT_S:
            self._cases.popitem(last=False)
        return bool(self._cases)

    def _check(self, case: _Case) -> None:
        if len(case.ends) >= MOST_ENDS:
            raise EndsEngine


class Watch:
    """The suspicion against the requests of one project. Without `suspects` nothing is noted: live
    sessions cannot wait for others."""

    def __init__(self, suspects: Suspects | None, project_id: str) -> None:
        self._suspects = suspects
        self._project_id = project_id

    @asynccontextmanager
    async def turn(self, path: str, content_type: str, body: Body) -> AsyncGenerator[None]:
        """Enter around one request. Raises EndsEngine."""
        if self._suspects is None or not self._suspects.are_there:
            yield
            return
        async with self._suspects.turn(await self._named(path, content_type, body)):
            yield

    async def ended(self, path: str, content_type: str, body: Body, address: str) -> None:
        """Note that an engine ended during the request. Raises EndsEngine where the request must not be tried
        again."""
        if self._suspects is not None:
            await self._suspects.note(await self._named(path, content_type, body), address)

    async def _named(self, path: str, content_type: str, body: Body) -> bytes:
        return await asyncio.to_thread(_digest, [self._project_id, path], content_type, body)


def _digest(names: Sequence[str], content_type: str, body: Body) -> bytes:
    """Hash the request, without the boundary between the parts of a form, which is different each time."""
    boundary = content_type.partition("boundary=")[2].encode()
    whole = hashlib.sha256("\0".join(names).encode())
    for piece in [body] if isinstance(body, bytes) else body:
        if isinstance(piece, bytes):
            whole.update(piece.replace(boundary, b"") if boundary else piece)
        else:
            with piece.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.digest()
