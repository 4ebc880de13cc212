"""The memory and the GPUs of this node, shared out among its workloads. First come, first served."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from tutti.base.clock import monotonic_s
from tutti.base.program import Share
from tutti.node.eviction import Tenant, victims

_LOOK_S = 0.2
_PATIENCE_S = 5.0
"""A newcomer waits so long for another workload to become idle. Then the least recently used gets no new
requests, finishes those it has, and leaves: none is kept out for ever by another that is never idle."""
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class Occupant(Protocol):
    """A workload that has a share of the room."""

    @property
    def id(self) -> str: ...

    @property
    def evictable(self) -> bool:
        """It is neither starting nor leaving already."""
        ...

    async def busy(self) -> bool:
        """Return whether it works on anything. One that does not answer is taken to be busy."""
        ...

    async def evict(self) -> None:
        """Return when it has finished its requests and is gone."""
        ...


class Room:
    """The share of each workload. `last_used` returns when each was last used, by its id."""

    def __init__(
        self, budget_bytes: int, gpus: Sequence[int], last_used: Callable[[], Awaitable[Mapping[str, float]]]
    ) -> None:
        self.whole = Share(budget_bytes, len(gpus))
        self._gpus = tuple(gpus)
        self._last_used = last_used
        self._turn = asyncio.Lock()
        self._occupants: dict[str, Occupant] = {}
        self._memory: dict[str, int] = {}
        self._assigned: dict[str, tuple[int, ...]] = {}

    async def take(self, occupant: Occupant, needed: Share) -> tuple[int, ...]:
        """Wait until there is room, evicting others for it, and return the numbers of its GPUs."""
        async with self._turn:
            impatient_at = monotonic_s() + _PATIENCE_S
            while leaving := await self._in_the_way(needed, impatient_at):
                await asyncio.gather(*(it.evict() for it in leaving))
            held = {gpu for gpus in self._assigned.values() for gpu in gpus}
            gpus = tuple(gpu for gpu in self._gpus if gpu not in held)[: needed.gpus]
            self._occupants[occupant.id] = occupant
            self._memory[occupant.id] = needed.memory_bytes
            self._assigned[occupant.id] = gpus
            return gpus

    def leave(self, occupant_id: str) -> None:
        """Give its share back."""
        self._occupants.pop(occupant_id, None)
        self._memory.pop(occupant_id, None)
        self._assigned.pop(occupant_id, None)

    def measured(self, occupant_id: str, memory_bytes: int) -> None:
        """Count the memory that it was seen to take from now on."""
        if occupant_id in self._memory and not self._assigned[occupant_id]:
            self._memory[occupant_id] = memory_bytes

    async def _in_the_way(self, needed: Share, impatient_at: float) -> list[Occupant]:
        """Wait while there is no room and nobody is idle, and return those that have to leave. Empty: there
        is room."""
        while True:
            used_at = await self._last_used()
            here = {it.id: it for it in await self._candidates(monotonic_s() >= impatient_at)}
            tenants = [Tenant(id, self._share(id), used_at.get(id, 0.0)) for id in here if id in self._memory]
            chosen = victims(tenants, self._taken(), needed, self.whole)
            if chosen is not None:
                return [here[it.id] for it in chosen]
            await asyncio.sleep(_LOOK_S)

    async def _candidates(self, impatient: bool) -> list[Occupant]:
        candidates = [it for it in self._occupants.values() if it.evictable]
        if impatient:
            return candidates
        busy = await asyncio.gather(*(it.busy() for it in candidates))
        return [it for it, is_busy in zip(candidates, busy, strict=True) if not is_busy]

    def _share(self, occupant_id: str) -> Share:
        return Share(self._memory[occupant_id], len(self._assigned[occupant_id]))

    def _taken(self) -> Share:
        return sum((self._share(it) for it in self._memory), Share())


def default_budget_bytes() -> int:
    """Return 80% of the machine's memory, or of what the container may have."""
    total = psutil.virtual_memory().total
    if _CGROUP_LIMIT.exists() and os.access(_CGROUP_LIMIT, os.R_OK):
        limit = _CGROUP_LIMIT.read_text().strip()
        total = min(total, int(limit)) if limit.isdigit() else total
    return total * 4 // 5
