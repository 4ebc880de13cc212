"""Reports what a project has used, and what that costs by the catalogue's prices."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from tutti.access.caller import Caller
from tutti.base.errors import Forbidden, InvalidRequest
from tutti.base.model import Pricing
from tutti.catalog.catalog import Catalog
from tutti.features.account.schemas import (
    BillingUsageLineItem,
    BillingUsageReport,
    BillingUsageWindow,
    UsageTotals,
)
from tutti.store.db import Database
from tutti.store.records import UsageRow

Granularity = Literal["day", "hour"]
Group = Literal["model", "key", "operation"]

_COLUMNS: Mapping[Group, InstrumentedAttribute[str]] = {
    "model": UsageRow.model,
    "key": UsageRow.key_id,
    "operation": UsageRow.operation,
}
_MILLION = Decimal(1_000_000)
_END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class UsageQuery:
    """The parameters of a report: the time from `start` to before `end` in Unix seconds, but only windows
    numbered above `after`."""

    start: float
    end: float
    granularity: Granularity
    groups: tuple[Group, ...]
    model: str | None
    after: int
    limit: int

    @property
    def window_s(self) -> int:
        return 86_400 if self.granularity == "day" else 3600


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


async def usage_report(
    database: Database, catalog: Catalog, caller: Caller, query: UsageQuery
) -> BillingUsageReport:
    """Return the report on the caller's project."""
    async with database.read() as session:
        sums = [Sums(**row) for row in (await session.execute(_sums(caller, query))).mappings()]
        extent = (await session.execute(_extent(caller, query))).one()
    windows: dict[int, list[Sums]] = defaultdict(list)
    for row in sums:
        windows[row.window].append(row)
    page = sorted(windows)[: query.limit]
    prices = await _prices(catalog, caller.project_id, {row.model for row in sums})
    return BillingUsageReport(
        object="list",
        organization_id=caller.organization_id,
        project_id=caller.project_id,
        billing_period=datetime.fromtimestamp(query.start, UTC).strftime("%Y-%m"),
        currency="USD",
        data=[_window(windows[number], query, prices) for number in page],
        earliest_window_start=None
        if extent[0] is None
        else _window_start(extent[0] // query.window_s, query),
        latest_window_end=None
        if extent[1] is None
        else _window_start(extent[1] // query.window_s + 1, query),
        next_cursor=str(page[-1]) if len(windows) > query.limit else None,
    )


# --- the query's parameters --------------------------------------------------------------------------------


def month_range(month: str | None) -> tuple[float, float]:
    """Return the Unix seconds at which a month (YYYY-MM, or else the current one) begins and ends, in UTC."""
    try:
        start = datetime.strptime(month, "%Y-%m") if month else datetime.now(UTC)
    except ValueError:
        raise InvalidRequest(f"`month` must be YYYY-MM, not {month!r}.", param="month") from None
    if not 1970 <= start.year < 2200:
        raise InvalidRequest(f"`month` is out of range: {month}.", param="month")
    start = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    after = (start + timedelta(days=31)).replace(day=1)
    return start.timestamp(), after.timestamp()


def moment(value: str, param: str) -> float:
    """Return the Unix seconds of a moment.

    It is given as Unix seconds, an ISO 8601 time or a date (UTC without an offset). Raises InvalidRequest.
    """
    try:
        seconds = float(value) if value.replace(".", "", 1).isdigit() else _iso(value)
    except (ValueError, OverflowError):
        message = f"`{param}` must be an ISO 8601 date or time, or Unix seconds, not {value!r}."
        raise InvalidRequest(message, param=param) from None
    if not 0 <= seconds < _END_OF_TIME:
        raise InvalidRequest(f"`{param}` is out of range: {value}.", param=param)
    return seconds


def window_number(cursor: str | None) -> int:
    """Return the number of the window that a cursor names; -1, before all windows, without one."""
    if cursor is None:
        return -1
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 9:
        raise InvalidRequest("`after` is not the cursor of an earlier answer.", param="after")
    return int(cursor)


def groups(text: str) -> tuple[Group, ...]:
    """Return the groups of a comma-separated list. `day` and `hour` in it are ignored: `granularity` decides.

    Raises InvalidRequest for other names.
    """
    names = {name.strip() for name in text.split(",")} - {"", "day", "hour"}
    if unknown := names - set(_COLUMNS):
        message = f"`group_by` may name day, hour, {', '.join(_COLUMNS)}; not {', '.join(sorted(unknown))}."
        raise InvalidRequest(message, param="group_by")
    return tuple(group for group in _COLUMNS if group in names)


def check_organization(caller: Caller, organization_id: str | None) -> None:
    if organization_id not in (None, caller.organization_id):
        raise Forbidden("The API key does not belong to this organization.", param="organization_id")


# --- the query ---------------------------------------------------------------------------------------------


def _sums(caller: Caller, query: UsageQuery) -> Select[*tuple[Any, ...]]:
    """Return the query for the sums. The model is always among the groups, since it has the price."""
    window = _floor(UsageRow.created_at / query.window_s).label("window")
    keys = [_COLUMNS[group] for group in _COLUMNS if group == "model" or group in query.groups]
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


def _extent(caller: Caller, query: UsageQuery) -> Select[*tuple[Any, ...]]:
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


# --- the report --------------------------------------------------------------------------------------------


async def _prices(catalog: Catalog, project_id: str, models: Iterable[str]) -> dict[str, Pricing]:
    """Return today's prices of the models; a model that is no longer known costs nothing."""
    found = {name: await catalog.find(name, project_id) for name in models}
    return {name: Pricing() if model is None else model.pricing for name, model in found.items()}


def _window(rows: Sequence[Sums], query: UsageQuery, prices: Mapping[str, Pricing]) -> BillingUsageWindow:
    start = _window_start(rows[0].window, query)
    return BillingUsageWindow(
        date=start.strftime("%Y-%m-%d"),
        start_time=start,
        end_time=_window_start(rows[0].window + 1, query),
        line_items=[item for row in rows for item in _line_items(row, prices[row.model])],
        usage=_usage(rows, query.groups, prices),
    )


def _line_items(row: Sums, price: Pricing) -> list[BillingUsageLineItem]:
    attributes = {"model": row.model, "api_key_id": row.key_id, "operation": row.operation}
    sides = zip(("Input", "Output"), row.tokens, _per_token(price), strict=True)
    return [
        BillingUsageLineItem(
            product_name=f"Inference - {side} Tokens",
            quantity=str(tokens),
            unit_price=_dollars(each),
            cost=_dollars(tokens * each),
            attributes={name: value for name, value in attributes.items() if value is not None},
            pricing_dimensions={"model": row.model},
        )
        for side, tokens, each in sides
        if tokens
    ]


def _usage(rows: Iterable[Sums], by: Sequence[Group], prices: Mapping[str, Pricing]) -> list[UsageTotals]:
    columns = [_COLUMNS[group].key for group in by]
    grouped: dict[tuple[str, ...], list[Sums]] = defaultdict(list)
    for row in rows:
        grouped[tuple(getattr(row, column) for column in columns)].append(row)
    return [
        _totals(dict(zip(columns, names, strict=True)), members, prices) for names, members in grouped.items()
    ]


def _totals(names: Mapping[str, str], rows: Sequence[Sums], prices: Mapping[str, Pricing]) -> UsageTotals:
    requests, streams = sum(row.requests for row in rows), sum(row.streams for row in rows)
    first_token_ms = sum(row.first_token_ms or 0 for row in rows)
    return UsageTotals(
        **names,
        requests=requests,
        failed_requests=sum(row.failed for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        mean_latency_ms=round(sum(row.latency_ms for row in rows) / requests, 3),
        mean_first_token_ms=round(first_token_ms / streams, 3) if streams else None,
        cost=_dollars(sum((_cost(row, prices[row.model]) for row in rows), Decimal(0))),
    )


def _cost(row: Sums, price: Pricing) -> Decimal:
    return sum(
        (tokens * each for tokens, each in zip(row.tokens, _per_token(price), strict=True)), Decimal(0)
    )


def _per_token(price: Pricing) -> tuple[Decimal, Decimal]:
    """Return the dollars for a prompt token and for a completion token."""
    return Decimal(str(price.input)) / _MILLION, Decimal(str(price.output)) / _MILLION


def _dollars(amount: Decimal) -> str:
    """Write an amount of dollars without an exponent or trailing zeros."""
    return f"{amount.normalize():f}"


def _window_start(number: float, query: UsageQuery) -> datetime:
    return datetime.fromtimestamp(int(number) * query.window_s, UTC)


def _iso(value: str) -> float:
    parsed = datetime.fromisoformat(value)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
