"""The readiness of the nodes: whether a request sent now would be served."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.base.program import MODEL
from tutti.base.settings import Settings
from tutti.meeting.router import NODE_DEAD_S
from tutti.store.db import Database
from tutti.store.records import Node, Replica

DRAINING = "This server is draining."


async def why_not_ready(settings: Settings, database: Database) -> str | None:
    """Return the reason why a request would not be served; None if the server is ready. A server that has
    models to load is ready once one of them is."""
    try:
        async with database.read() as session:
            nodes = (await session.execute(select(Node.id, Node.state).where(_is_live(Node.seen_at)))).all()
            live = [node for node, state in nodes if state != "draining"]
            of_live = select(Replica.name, Replica.state, Replica.detail).where(
                Replica.kind == MODEL, Replica.node_id.in_(live)
            )
            replicas = (await session.execute(of_live)).all()
    except (SQLAlchemyError, OSError) as exc:
        return f"The database does not answer ({type(exc).__name__})."
    if not live:
        return DRAINING if nodes else "No supervisor is alive."
    if any(replica.state == "ready" for replica in replicas) or not settings.models:
        return None
    return _progress(replicas)


def _is_live(seen_at: Any) -> Any:
    return seen_at > now() - NODE_DEAD_S


def _progress(replicas: Sequence[Any]) -> str:
    progress = [f"{replica.name} is {replica.state} {replica.detail}".strip() for replica in replicas]
    return "; ".join(progress) or "No model is loaded yet."


async def restarts(database: Database) -> dict[str, int]:
    """Return the restarts by model; empty where the database does not answer: the other metrics matter most
    then."""
    counts = select(Replica.name, func.sum(Replica.restarts))
    query = counts.where(Replica.kind == MODEL).group_by(Replica.name)
    try:
        async with database.read() as session:
            return {model: int(count or 0) for model, count in (await session.execute(query)).all()}
    except (SQLAlchemyError, OSError):
        return {}
