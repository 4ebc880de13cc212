"""The requests for one model in this process: first come first served, bounded, least loaded first."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable

from tutti.base.clock import monotonic_s
from tutti.base.errors import RateLimited, TuttiError
from tutti.serving.router import ReplicaView, least_loaded

_SUSPECT_S = 1.0
"""How long a replica that refused a connection is passed over, unless its address changes."""


class Waiter:
    def __init__(self, since: float, *, moved: bool) -> None:
        self.since = since
        """Monotonic: when it began to wait for a replica to be ready."""
        self.moved = moved
        """It had a slot before."""
        self.granted: asyncio.Future[ReplicaView] = asyncio.get_running_loop().create_future()


class Line:
    """State only: no I/O, no tasks. `bound` is how many may wait."""

    def __init__(self, name: str, bound: int) -> None:
        self.name = name
        self.ready_at = float("-inf")
        """Monotonic: when a replica was last known to be ready."""
        self._bound = bound
        self._waiting: deque[Waiter] = deque()
        self._running: Counter[str] = Counter()
        self._replicas: tuple[ReplicaView, ...] = ()
        self._suspects: dict[str, float] = {}
        self._mean_s = 1.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def free(self) -> bool:
        """A slot could be had at once."""
        return least_loaded(self._replicas, self._running) is not None

    @property
    def is_served(self) -> bool:
        """A replica works for it, as far as is known: whoever waits, waits for a slot."""
        return bool(self._replicas)

    @property
    def replica_ids(self) -> set[str]:
        """Those that work for this process right now."""
        return set(self._running)

    def enter(self, *, since: float | None = None) -> Waiter:
        """Raises RateLimited where it would have to wait and the line is full. One that had a slot before is
        let in, and goes first: it says `since` when it has waited."""
        moved = since is not None
        must_wait = bool(self._waiting) or not self.free
        if must_wait and not moved and len(self._waiting) >= self._bound:
            raise self._full()
        waiter = Waiter(since if moved else monotonic_s(), moved=moved)
        self._waiting.insert(0 if moved else len(self._waiting), waiter)
        self._grant()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """The request has gone away; what it was granted in the same moment goes to the next."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.granted.done() and not waiter.granted.cancelled() and not waiter.granted.exception():
            self.release(waiter.granted.result())

    def offer(self, replicas: Iterable[ReplicaView]) -> None:
        """The replicas that are ready now."""
        self._replicas = tuple(it for it in replicas if not self._suspected(it))
        self._grant()
        if self._replicas:
            self.ready_at = monotonic_s()

    def suspect(self, replica: ReplicaView) -> None:
        self._suspects[replica.address] = monotonic_s()
        self._replicas = tuple(it for it in self._replicas if it.address != replica.address)

    def release(self, replica: ReplicaView, lasted_s: float | None = None) -> None:
        self._running[replica.id] -= 1
        self._running += Counter()
        if lasted_s is not None:
            self._mean_s += 0.1 * (lasted_s - self._mean_s)
        self._grant()

    def fail(self, error: TuttiError, waited_s: float = 0.0) -> None:
        """Those who have waited so long, with no replica ready, get the error."""
        latest = monotonic_s() - waited_s
        failing = [it for it in self._waiting if self._unserved_since(it) <= latest]
        for waiter in failing:
            self._waiting.remove(waiter)
            if not waiter.granted.done():
                waiter.granted.set_exception(error)

    def _unserved_since(self, waiter: Waiter) -> float:
        """Waiting for a slot does not count. Who has to move does not wait for slots, only for replicas."""
        return waiter.since if waiter.moved else max(waiter.since, self.ready_at)

    def _suspected(self, replica: ReplicaView) -> bool:
        return monotonic_s() - self._suspects.get(replica.address, float("-inf")) < _SUSPECT_S

    def _grant(self) -> None:
        while self._waiting and (replica := least_loaded(self._replicas, self._running)):
            waiter = self._waiting.popleft()
            if not waiter.granted.done():  # a request that goes away cancels it, and leaves a moment later
                self._running[replica.id] += 1
                waiter.since = self._unserved_since(waiter)
                waiter.granted.set_result(replica)

    def _full(self) -> RateLimited:
        slots = max(1, sum(it.slots for it in self._replicas))
        retry_after_s = min(60.0, max(1.0, self._mean_s * (len(self._waiting) + 1) / slots))
        return RateLimited(
            f"{self.waiting} requests already wait for {self.name}; try again in {retry_after_s:.0f} s.",
            code="queue_full",
            retry_after_s=retry_after_s,
        )
