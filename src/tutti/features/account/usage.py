"""Reports what a project has used, and what that costs by the catalogue's prices."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tutti.access.caller import Caller
from tutti.base.model import Pricing
from tutti.catalog.catalog import Catalog
from tutti.features.account import usage_sums
from tutti.features.account.schemas import (
    BillingUsageLineItem,
    BillingUsageReport,
    BillingUsageWindow,
    UsageTotals,
)
from tutti.features.account.usage_query import Group, UsageQuery
from tutti.features.account.usage_sums import COLUMNS, Sums
from tutti.store.db import Database

_MILLION = Decimal(1_000_000)


async def usage_report(
    database: Database, catalog: Catalog, caller: Caller, query: UsageQuery
) -> BillingUsageReport:
    """Return the report on the caller's project."""
    async with database.read() as session:
        sums = [Sums(**row) for row in (await session.execute(usage_sums.sums(caller, query))).mappings()]
        extent = (await session.execute(usage_sums.extent(caller, query))).one()
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
    columns = [COLUMNS[group].key for group in by]
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
