"""An adapter on the replica of its base, with a row of its own: the same address, and the number by which
requests choose it."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from tutti.base.ids import new_id
from tutti.base.model import Model
from tutti.meeting.replicas import Rows
from tutti.meeting.wants import key_of
from tutti.node.replica import Replica
from tutti.node.runner import Runner
from tutti.store.records import Replica as ReplicaRow


class Guest:
    """An adapter on its host, from the want that asked for it to the end of either. `base` is the workload
    that the host runs."""

    def __init__(self, rows: Rows, model: Model, host: Runner, base: Replica) -> None:
        self.id = new_id("replica")
        self.key = key_of(model)
        self.gone = asyncio.Event()
        self._rows = rows
        self._model = model
        self._entry: Mapping[str, Any] = msgspec.to_builtins(model)
        self._host = host
        self._base = base

    @property
    def state(self) -> str:
        return self._state_and_detail()[0]

    def row(self) -> ReplicaRow:
        return self._rows.new(self.id, self.key, self._entry, state="starting")

    async def run(self) -> None:
        """Return when its host is gone, or does not have it any more."""
        try:
            self._base.adapters.ask(self._model)
            while self._stays():
                change = self._base.adapters.next_change()
                await self.report()
                if self._stays():
                    await change.wait()
            if self.state == "failed":
                await self.report()
            else:
                await self._rows.remove(self.id)
        finally:
            self.gone.set()

    async def report(self) -> None:
        """Write its row, also where it had been deleted."""
        state, detail = self._state_and_detail()
        await self._rows.save(
            self.id,
            self.key,
            self._entry,
            state=state,
            detail=detail,
            address=self._host.address,
            slots=self._base.slots,
            adapter=self._base.adapters.number(self.key),
        )

    def _stays(self) -> bool:
        return not self._host.gone.is_set() and self._base.adapters.has(self.key)

    def _state_and_detail(self) -> tuple[str, str]:
        host, adapters = self._host, self._base.adapters
        if self.key in adapters.refused:
            return "failed", adapters.refused[self.key]
        if host.state == "failed":
            return "failed", f"its base cannot be served: {host.detail}"
        if host.state == "ready" and adapters.number(self.key) < 0:
            return "starting", "waiting for its base to start again with it"
        return host.state, host.detail
