"""The replica on which a request holds a slot. The request may move to another one, and gives the slot
back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tutti.base.clock import monotonic_s
from tutti.base.errors import EngineEnded, Unavailable
from tutti.base.model import Model
from tutti.dispatch.line import Waiter
from tutti.dispatch.lines import Lines
from tutti.process import metrics

_MOST_MOVES = 2


class ReplicaSeat:
    """The slot that `waiter` was granted, as `upstream.Seat`."""

    def __init__(self, lines: Lines, model: Model, headers: Mapping[str, str], waiter: Waiter) -> None:
        self.replica = waiter.granted.result()
        self.headers = headers
        self.leaving: list[asyncio.Future[None]] = []
        """Requests that were given up: the engine may still work on them."""
        self._waiter = waiter
        self._running = metrics.running(model.name)
        self._running.inc()
        self._lines = lines
        self._model = model
        self._since = monotonic_s()
        self._held = True
        self._moves = 0

    @property
    def address(self) -> str:
        return self.replica.address

    @property
    def adapter(self) -> int:
        return self.replica.adapter

    async def move(self, *, sent: bool) -> None:
        """Move to another replica, or wait for this one to come back. A request that was `sent` may be what
        broke the replica: it gets one other try, at once. Raises EngineEnded after the last try."""
        self._moves += 1
        line = self._lines.line(self._model)
        line.suspect(self.replica)
        line.offer(await self._lines.ready(self._model, 0.0))
        if self._moves > (1 if sent else _MOST_MOVES) or (sent and not line.free):
            raise EngineEnded
        if sent:
            self._moves = _MOST_MOVES
        line.release(self._waiter)
        self._held = False
        adapter, left = self.adapter, self._waiter
        self._waiter = await self._lines.admit(self._model, left.project_id, since=left.since)
        self.replica = self._waiter.granted.result()
        self._held = True
        if self.adapter != adapter:  # the request was written for that number
            message = "The model was moved while this request was on its way to it."
            raise Unavailable(message, retry_after_s=1)

    def leave(self) -> None:
        """Free the slot, and count the request as ended, once the engine has ended all of it."""
        _when_done(self.leaving, self._left)

    def _left(self) -> None:
        self._running.dec()
        if self._held:
            self._lines.line(self._model).release(self._waiter, monotonic_s() - self._since)


def _when_done(futures: Sequence[asyncio.Future[None]], then: Callable[[], None]) -> None:
    unfinished = [future for future in futures if not future.done()]
    if not unfinished:
        then()
        return
    unfinished[0].add_done_callback(lambda _: _when_done(unfinished, then))
