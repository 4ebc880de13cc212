"""LoRA adapters on the replica of their base, which all of them share.

An engine gets its adapters when it starts. One that is not among them means starting it again: the
replica gets no new requests, finishes those it has, and comes back with the adapter.
"""

import asyncio
from collections.abc import Sequence

from tutti.base.model import Model
from tutti.meeting.wants import Key, key_of

MOST = 16
"""Adapters on one replica. Each takes memory and, in llama.cpp, threads."""


class Adapters:
    """The adapters of one host. A number stays its adapter's as long as the host lives, unless more are asked
    for than there is room for: then the one that was asked for longest ago makes place."""

    def __init__(self, most: int = MOST) -> None:
        self.refused: dict[Key, str] = {}
        """The adapters that the engine could not be started with, and why."""
        self.loaded: Sequence[Model] = ()
        """The adapters that the engine was started with, in the order of their numbers."""
        self._most = most
        self._asked: dict[Key, Model] = {}
        self._order: list[Key] = []
        self._proven: set[Key] = set()
        self._moved = asyncio.Event()

    def ask(self, model: Model) -> None:
        """Put the adapter among those of the next start."""
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
        """Return the adapters that the engine is started with now."""
        self.loaded = [self._asked[key] for key in self._order]
        return self.loaded

    @property
    def complete(self) -> bool:
        """The engine was started with all that are asked for."""
        return list(self.loaded) == [self._asked[key] for key in self._order]

    def proved(self) -> None:
        """Note that the engine runs with all of them."""
        self._proven = {key_of(model) for model in self.loaded}

    def refuse(self, reason: str) -> bool:
        """Leave out those that the engine has not run with before. False if there were none."""
        fresh = [key for key in map(key_of, self.loaded) if key not in self._proven]
        for key in fresh:
            self.refused[key] = reason
            self._asked.pop(key, None)
        self._order = [key for key in self._order if key in self._asked]
        return bool(fresh)

    def number(self, key: Key) -> int:
        """Return the adapter's number; -1 if it is not loaded."""
        return next((at for at, model in enumerate(self.loaded) if key_of(model) == key), -1)

    def has(self, key: Key) -> bool:
        """Return whether the adapter is among those of the next start."""
        return key in self._asked

    def tell(self) -> None:
        """Wake whoever waits for a change of the host or of its adapters."""
        self._moved.set()
        self._moved = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """Return the event of the next change. Ask for it before you look at how things are, then wait."""
        return self._moved

    def _make_place(self, key: Key) -> None:
        if len(self._order) < self._most:
            self._order.append(key)
            return
        oldest = next(iter(self._asked))
        self._order[self._order.index(oldest)] = key
        del self._asked[oldest]
