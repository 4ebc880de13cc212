"""The requests for one model in this process: projects in turn, bounded, least loaded replica first.

A slot goes to the project that has the fewest, and among those to the one that was served longest ago; within
a project, first come first served. So a project that asks for hundreds of answers delays another's only
request by a single turn. Where the line is full, the newest request of the project with the most gives way.
"""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Iterable

from tutti.base.clock import monotonic_s
from tutti.base.errors import RateLimited, TuttiError
from tutti.meeting.router import ReplicaView, least_loaded

_SUSPECT_S = 1.0
"""How long a replica that refused or broke a connection is passed over, unless its address changes."""
_SHARED_S = 300.0
"""A project that asked in this time is expected to ask again: the last free slot is kept for a project that
has none."""


class Waiter:
    """A request, from its arrival until its slot is released."""

    def __init__(self, project_id: str, since: float, *, moved: bool) -> None:
        self.project_id = project_id
        self.since = since
        """Monotonic: when it began to wait for a replica to be ready."""
        self.moved = moved
        """True if it had a slot before, on a replica that it had to leave."""
        self.granted: asyncio.Future[ReplicaView] = asyncio.get_running_loop().create_future()


class Line:
    """The line itself: state only, no I/O, no tasks. `bound` is how many may wait, `project_bound` how many
    of one project."""

    def __init__(self, name: str, bound: int, project_bound: int) -> None:
        self.name = name
        self.ready_at = float("-inf")
        """Monotonic: when a replica was last known to be ready."""
        self._bound = bound
        self._project_bound = project_bound
        self._moved: deque[Waiter] = deque()
        self._waiting: dict[str, deque[Waiter]] = {}
        """By project, none empty; the project that was served last comes last."""
        self._running: Counter[str] = Counter()
        self._running_of: Counter[str] = Counter()
        self._asked_at: dict[str, float] = {}
        """By project; the project that asked last comes last."""
        self._replicas: tuple[ReplicaView, ...] = ()
        self._suspects: dict[str, float] = {}
        self._mean_s = 1.0

    @property
    def waiting(self) -> int:
        return len(self._moved) + sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        return self._running.total()

    @property
    def free(self) -> bool:
        """True if a slot could be had at once."""
        return least_loaded(self._replicas, self._running) is not None

    @property
    def is_served(self) -> bool:
        """True if a replica works for the line, as far as is known: whoever waits, waits for a slot."""
        return bool(self._replicas)

    @property
    def replica_ids(self) -> set[str]:
        """The replicas that work for this process right now."""
        return set(self._running)

    def enter(self, project_id: str = "", *, since: float | None = None) -> Waiter:
        """Add a request to the line, and grant it a slot if one is free. Raises RateLimited where it would
        have to wait and the line is full. A request that had a slot before is always let in, and goes first:
        `since` is when it has waited since."""
        if since is not None:
            waiter = Waiter(project_id, since, moved=True)
            self._moved.appendleft(waiter)
            self._grant()
            return waiter
        waiter = Waiter(project_id, monotonic_s(), moved=False)
        self._note_asked(project_id, waiter.since)
        self._waiting.setdefault(project_id, deque()).append(waiter)
        self._grant()
        if not waiter.granted.done():
            self._bind(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Remove a request that has gone away. A slot that it was granted in the same moment goes to the
        next."""
        if self._drop(waiter):
            return
        if waiter.granted.done() and not waiter.granted.cancelled() and not waiter.granted.exception():
            self.release(waiter)

    def offer(self, replicas: Iterable[ReplicaView]) -> None:
        """Replace the ready replicas of the line, and grant their free slots."""
        self._replicas = tuple(replica for replica in replicas if not self._suspected(replica))
        self._grant()
        if self._replicas:
            self.ready_at = monotonic_s()

    def suspect(self, replica: ReplicaView) -> None:
        """Pass over a replica for a moment: it refused or broke a connection."""
        self._suspects[replica.address] = monotonic_s()
        self._replicas = tuple(other for other in self._replicas if other.address != replica.address)

    def release(self, waiter: Waiter, lasted_s: float | None = None) -> None:
        """Take back the slot that the request was granted. `lasted_s` is how long it held it, if that says
        something about other requests."""
        for counter, key in (
            (self._running, waiter.granted.result().id),
            (self._running_of, waiter.project_id),
        ):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        if lasted_s is not None:
            self._mean_s += 0.1 * (lasted_s - self._mean_s)
        self._grant()

    def fail(self, error: TuttiError, waited_s: float = 0.0) -> None:
        """Give the error to those who have waited so long without a ready replica."""
        latest = monotonic_s() - waited_s
        everybody = [*self._moved, *itertools.chain(*self._waiting.values())]
        for waiter in everybody:
            if self._unserved_since(waiter) <= latest:
                self._refuse(waiter, error)

    # --- how long --------------------------------------------------------------------------------------

    def _unserved_since(self, waiter: Waiter) -> float:
        """Return since when the request has waited for a replica. Time spent waiting for a slot does not
        count; a request that has to move waits only for replicas."""
        return waiter.since if waiter.moved else max(waiter.since, self.ready_at)

    def _suspected(self, replica: ReplicaView) -> bool:
        return monotonic_s() - self._suspects.get(replica.address, float("-inf")) < _SUSPECT_S

    def _note_asked(self, project_id: str, at: float) -> None:
        """Note when the project asked, and forget projects that asked long ago."""
        self._asked_at.pop(project_id, None)
        self._asked_at[project_id] = at
        while at - self._asked_at[oldest := next(iter(self._asked_at))] > _SHARED_S:
            del self._asked_at[oldest]

    # --- whose turn ------------------------------------------------------------------------------------

    def _grant(self) -> None:
        while (replica := least_loaded(self._replicas, self._running)) and (waiter := self._next()):
            self._drop(waiter)
            if not waiter.granted.done():  # a request that goes away cancels it, and leaves a moment later
                self._running[replica.id] += 1
                self._running_of[waiter.project_id] += 1
                waiter.since = self._unserved_since(waiter)
                waiter.granted.set_result(replica)

    def _next(self) -> Waiter | None:
        """Return the request whose turn it is."""
        if self._moved:
            return self._moved[0]
        if not self._waiting:
            return None
        project_id = min(self._waiting, key=self._running_of.__getitem__)
        if self._running_of[project_id] and self._keeps_last(project_id):
            return None
        waiting = self._waiting.pop(project_id)
        self._waiting[project_id] = waiting
        return waiting[0]

    def _keeps_last(self, project_id: str) -> bool:
        """Return True if the last free slot is kept for another project that asked lately and has none."""
        free = sum(replica.slots - self._running.get(replica.id, 0) for replica in self._replicas)
        others = (
            at for name, at in self._asked_at.items() if name != project_id and not self._running_of[name]
        )
        return free <= 1 and any(monotonic_s() - at <= _SHARED_S for at in others)

    def _drop(self, waiter: Waiter) -> bool:
        """Remove a waiting request from the line; False if it was not waiting."""
        waiting = self._moved if waiter.moved else self._waiting.get(waiter.project_id)
        if waiting is None or waiter not in waiting:
            return False
        waiting.remove(waiter)
        if not waiter.moved and not waiting:
            del self._waiting[waiter.project_id]
        return True

    # --- who gives way ---------------------------------------------------------------------------------

    def _bind(self, waiter: Waiter) -> None:
        """Enforce the bounds after a request was added: where too many wait, one gives way. Raises
        RateLimited where that is the new request itself."""
        own = len(self._waiting[waiter.project_id])
        largest = max(self._waiting, key=lambda name: len(self._waiting[name]))
        full = self.waiting > self._bound
        if own > self._project_bound or (full and len(self._waiting[largest]) == own):
            self._drop(waiter)
            raise self._full(waiter.project_id)
        if full:
            self._refuse(self._waiting[largest][-1], self._full(largest))

    def _refuse(self, waiter: Waiter, error: TuttiError) -> None:
        self._drop(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(error)

    def _full(self, project_id: str) -> RateLimited:
        own = len(self._waiting.get(project_id, ()))
        slots = max(1, sum(replica.slots for replica in self._replicas))
        retry_after_s = min(60.0, max(1.0, self._mean_s * (self.waiting + 1) / slots))
        limit = "--max-project-queue" if own >= self._project_bound < self._bound else "--max-queue"
        return RateLimited(
            f"{self.waiting} requests already wait for {self.name}, {own} of them this project's ({limit}); "
            f"try again in {retry_after_s:.0f} s.",
            code="queue_full",
            retry_after_s=retry_after_s,
        )
