"""A gate that limits how many requests of a batch run at once."""

import asyncio
import math


class Gate:
    """A limit that adapts. `slots` is how many requests the model's replicas take at once. After requests had
    to make way for those of clients, fewer run: each is done sooner then, and less is lost if the next client
    comes soon. Every success lets one more in."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self.slots = 1
        self._window = math.inf
        self._inside = 0

    @property
    def limit(self) -> int:
        return max(1, int(min(self.slots, self._window)))

    async def resize(self, slots: int) -> None:
        async with self._changed:
            self.slots = slots
            self._changed.notify_all()

    def made_way(self) -> None:
        """Halve the number of requests, since one had to make way for a client's."""
        self._window = max(1, min(self._window, self._inside) // 2)

    def succeeded(self) -> None:
        """Let one more request in. A window as wide as the slots limits nothing, so it is dropped."""
        self._window = math.inf if self._window >= self.slots else self._window + 1

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._inside < self.limit)
            self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._changed:
            self._inside -= 1
            self._changed.notify(2)
