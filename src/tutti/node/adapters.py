"""LoRA adapters on the replica of their base, which all of them share.

An engine is told its adapters when it starts. One that is not among them means starting it again: the
replica gets no new requests, finishes those it has, and comes back with the adapter. Each adapter has a row
of its own beside its host's: the same address, and the number by which requests choose it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.meeting.replicas import Rows
from tutti.meeting.wants import Key, key_of

MOST = 16
"""Adapters on one replica. Each takes memory and, in llama.cpp, threads."""


class Adapters:
    """Those of one host. A number stays its adapter's as long as the host lives, unless more are asked for
    than there is room for: then the one that was asked for longest ago makes place."""

    def __init__(self, most: int = MOST) -> None:
        self.refused: dict[Key, str] = {}
        """Those that the engine could not be started with, and why."""
        self.loaded: Sequence[Model] = ()
        """In the order of their numbers."""
        self._most = most
        self._asked: dict[Key, Model] = {}
        self._order: list[Key] = []
        self._proven: set[Key] = set()
        self._moved = asyncio.Event()

    def ask(self, model: Model) -> None:
        key = key_of(model)
        self.refused.pop(key, None)
        if key in self._asked and self._asked[key] != model:
            self._proven.discard(key)
        if key not in self._order:
            self._make_place(key)
        self._asked.pop(key, None)
        self._asked[key] = model
        self.tell()

    def take(self) -> Sequence[Model]:
        """What the engine is started with now."""
        self.loaded = [self._asked[key] for key in self._order]
        return self.loaded

    @property
    def complete(self) -> bool:
        return list(self.loaded) == [self._asked[key] for key in self._order]

    def proved(self) -> None:
        """The engine runs with all of them."""
        self._proven = {key_of(model) for model in self.loaded}

    def refuse(self, reason: str) -> bool:
        """Leaves out those that the engine has not run with before; false where there were none."""
        fresh = [key for key in map(key_of, self.loaded) if key not in self._proven]
        for key in fresh:
            self.refused[key] = reason
            self._asked.pop(key, None)
        self._order = [key for key in self._order if key in self._asked]
        return bool(fresh)

    def number(self, key: Key) -> int:
        """-1: not loaded."""
        return next((at for at, model in enumerate(self.loaded) if key_of(model) == key), -1)

    def has(self, key: Key) -> bool:
        return key in self._asked

    def tell(self) -> None:
        """Something about the host or its adapters has changed."""
        self._moved.set()
        self._moved = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """Ask for it before looking at how things are, then wait for it."""
        return self._moved

    def _make_place(self, key: Key) -> None:
        if len(self._order) < self._most:
            self._order.append(key)
            return
        oldest = next(iter(self._asked))
        self._order[self._order.index(oldest)] = key
        del self._asked[oldest]


class Host(Protocol):
    """The replica of a base."""

    @property
    def state(self) -> str: ...

    @property
    def detail(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def slots(self) -> int: ...

    @property
    def adapters(self) -> Adapters: ...

    @property
    def gone(self) -> asyncio.Event: ...


class Guest:
    """An adapter on its host, from the want that asked for it to the end of either."""

    def __init__(self, rows: Rows, model: Model, host: Host) -> None:
        self.id = new_id("replica")
        self.key = key_of(model)
        self.model = model
        self._rows = rows
        self._host = host

    async def run(self) -> None:
        adapters = self._host.adapters
        adapters.ask(self.model)
        while self._stays():
            change = adapters.next_change()
            await self.report()
            if self._stays():
                await change.wait()
        if self._seen()["state"] == "failed":
            await self.report()
        else:
            await self._rows.remove(self.id)

    async def report(self) -> None:
        await self._rows.save(self.id, model=self.model, **self._seen())

    def _stays(self) -> bool:
        return not self._host.gone.is_set() and self._host.adapters.has(self.key)

    def _seen(self) -> Mapping[str, Any]:
        host, number = self._host, self._host.adapters.number(self.key)
        state, detail = host.state, host.detail
        if self.key in host.adapters.refused:
            state, detail = "failed", host.adapters.refused[self.key]
        elif state == "failed":
            detail = f"its base cannot be served: {detail}"
        elif state == "ready" and number < 0:
            state, detail = "starting", "waiting for its base to start again with it"
        return {
            "state": state,
            "detail": detail,
            "address": host.address,
            "slots": host.slots,
            "adapter": number,
        }
