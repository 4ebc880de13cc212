"""The server's application on a real socket, over real parts, with replicas that the test starts itself."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.support.http import serve

from tutti.app.api import application
from tutti.base.clock import now
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.serving.catalog import Catalog
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate
from tutti.store.records import Node, Replica

A_DAY_S = 86_400


@asynccontextmanager
async def api(
    folder: Path,
    added: Sequence[Model],
    addresses: Mapping[str, str] | None = None,
    slots: int = 4,
    **settings: Any,
) -> AsyncIterator[str]:
    """The base URL. `added` go into the catalogue; `addresses` says where replicas of them run."""
    chosen = Settings(**{"data_dir": folder, "models": [], **settings})
    await _fill(chosen, added, addresses or {}, slots)
    async with application(chosen) as app, serve(app) as url:
        yield url


async def _fill(
    settings: Settings, models: Sequence[Model], addresses: Mapping[str, str], slots: int
) -> None:
    database = await Database.open(database_url(settings))
    await migrate(database)
    for model in models:
        await Catalog(settings, database).add(model)
    async with database.begin() as session:
        session.add(_node())
        session.add_all(
            _replica(model, addresses[model.name], slots) for model in models if model.name in addresses
        )
    await database.close()


def _node() -> Node:
    seen_at = now() + A_DAY_S
    return Node(id="node-1", address="127.0.0.1", state="ready", memory_budget_bytes=1 << 30, seen_at=seen_at)


def _replica(model: Model, address: str, slots: int) -> Replica:
    return Replica(
        id=f"replica-{model.name}",
        node_id="node-1",
        model=model.name,
        project_id=model.project_id or "",
        entry=msgspec.to_builtins(model),
        state="ready",
        address=address,
        slots=slots,
        changed_at=now(),
        used_at=now(),
    )
