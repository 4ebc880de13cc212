"""Sums up the usage rows of a project, by window and group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from tutti.access.caller import Caller
from tutti.features.account.usage_query import Group, UsageQuery
from tutti.store.records import UsageRow

COLUMNS: Mapping[Group, InstrumentedAttribute[str]] = {
    "model": UsageRow.model,
    "key": UsageRow.key_id,
    "operation": UsageRow.operation,
}


@dataclass(frozen=True)
class Sums:
    """The sums of the requests of one window, group and model. Windows are numbered from 1970."""

    window: int
    model: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    streams: int
    first_token_ms: float | None
    key_id: str | None = None
    operation: str | None = None

    @property
    def tokens(self) -> tuple[int, int]:
        return self.prompt_tokens, self.completion_tokens


def sums(caller: Caller, query: UsageQuery) -> Select[*tuple[Any, ...]]:
    """Return the query for the sums. The model is always among the groups, since it has the price."""
    window = _floor(UsageRow.created_at / query.window_s).label("window")
    keys = [COLUMNS[group] for group in COLUMNS if group == "model" or group in query.groups]
    statement = select(
        window,
        *keys,
        func.count().label("requests"),
        _total(case((UsageRow.status >= 400, 1), else_=0)).label("failed"),
        _total(UsageRow.prompt_tokens).label("prompt_tokens"),
        _total(UsageRow.completion_tokens).label("completion_tokens"),
        func.sum(UsageRow.latency_ms).label("latency_ms"),
        func.count(UsageRow.first_token_ms).label("streams"),
        func.sum(UsageRow.first_token_ms).label("first_token_ms"),
    )
    start = max(query.start, (query.after + 1) * query.window_s)
    return (
        statement.where(*_conditions(caller, query, start))
        .group_by("window", *keys)
        .order_by("window", *keys)
    )


def extent(caller: Caller, query: UsageQuery) -> Select[*tuple[Any, ...]]:
    """Return the query for the times of the first and the last request."""
    first, last = func.min(UsageRow.created_at), func.max(UsageRow.created_at)
    return select(first, last).where(*_conditions(caller, query, query.start))


def _conditions(caller: Caller, query: UsageQuery, start: float) -> list[ColumnElement[bool]]:
    conditions = [
        UsageRow.project_id == caller.project_id,
        UsageRow.created_at >= start,
        UsageRow.created_at < query.end,
    ]
    return conditions if query.model is None else [*conditions, UsageRow.model == query.model]


def _floor(number: ColumnElement[float]) -> ColumnElement[int]:
    """Round a number down: SQLite may lack floor(), and a cast cuts there but rounds in PostgreSQL."""
    whole = cast(number, BigInteger)
    return whole - case((whole > number, 1), else_=0)


def _total(number: Any) -> ColumnElement[int]:
    """Return the sum as an integer: PostgreSQL's sum of integers is a decimal."""
    return cast(func.sum(number), BigInteger)
