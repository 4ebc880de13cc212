"""whoami, projects and billing usage, as the clients read them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tutti.access.keys import create_key, project_named, server_secret
from tutti.base.ids import new_id
from tutti.base.settings import Settings
from tutti.store.db import Database
from tutti.store.records import Organization, Project, UsageRow

BROKEN = [
    ("month", "March"), ("month", "2026-13"), ("month", "9999-12"), ("month", "0001-01"),
    ("start", "yesterday"), ("start", "9" * 400), ("start", "-5"), ("end", "nan"), ("end", "²"),
    ("after", "x"), ("after", "-1"), ("after", "9" * 40), ("after", "²"),
    ("limit", "0"), ("limit", "1001"), ("granularity", "week"), ("group_by", "model,secret"),
]  # fmt: skip

both_databases = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def used(**fields: Any) -> UsageRow:
    values = {
        "id": new_id("use"),
        "project_id": "proj-default",
        "key_id": "key-a",
        "model": "priced",
        "operation": "chat.completions",
        "status": 200,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "latency_ms": 50.0,
        "first_token_ms": None,
        "created_at": at("2026-03-05T10:30"),
    }
    return UsageRow(**{**values, **fields})


async def add(database: Database, *rows: UsageRow | Organization | Project) -> None:
    async with database.begin() as session:
        session.add_all(rows)


async def key_of(database: Database, settings: Settings, project_id: str) -> dict[str, str]:
    made = await create_key(database, server_secret(settings), "laptop", project_id=project_id)
    return {"authorization": f"Bearer {made.secret}"}


async def report(client: httpx.AsyncClient, **query: str | int) -> dict[str, Any]:
    answer = await client.get("/v1/billing/usage", params={"month": "2026-03", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def totals(body: dict[str, Any], *fields: str) -> list[tuple[Any, ...]]:
    return [
        (window["date"], *(total[field] for field in fields))
        for window in body["data"]
        for total in window["usage"]
    ]


# --- whoami -------------------------------------------------------------------------------------------------


async def test_whoami_is_flat_in_v1(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/whoami")).json() == {
        "api_key_id": "key-default",
        "organization_id": "org-default",
        "organization_name": "default",
        "project_id": "proj-default",
        "project_name": "default",
        "project_slug": "default",
        "user_id": None,
    }


async def test_whoami_is_nested_in_v3(client: httpx.AsyncClient) -> None:
    for path in ("/v3/whoami", "/v1/v3/whoami"):
        assert (await client.get(path)).json() == {
            "type": "project_api_key",
            "api_key": {"id": "key-default"},
            "organization": {"id": "org-default", "name": "default"},
            "project": {"id": "proj-default", "name": "default", "slug": "default"},
        }


# --- projects -----------------------------------------------------------------------------------------------


async def test_projects_are_those_of_the_callers_organisation(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    mine = await project_named(database, "mine")
    await add(
        database,
        Organization(id="org-b", name="b", created_at=0),
        Project(id="proj-b", organization_id="org-b", name="theirs", slug="theirs", created_at=0),
    )
    body = (await client.get("/v1/projects")).json()
    assert (body["object"], body["next_cursor"]) == ("list", None)
    assert {project["id"] for project in body["data"]} == {"proj-default", mine.id}
    theirs = await client.get("/v1/projects", headers=await key_of(database, settings, "proj-b"))
    assert theirs.json()["data"] == [
        {
            "id": "proj-b",
            "name": "theirs",
            "slug": "theirs",
            "organization_id": "org-b",
            "organization_name": "b",
        }
    ]


@both_databases
async def test_projects_come_in_pages(client: httpx.AsyncClient, database: Database) -> None:
    for name in ("a", "b", "c"):
        await project_named(database, name)
    seen: list[str] = []
    after = ""
    while True:
        body = (await client.get("/v1/projects", params={"limit": 3, "after": after})).json()
        seen += [project["slug"] for project in body["data"]]
        after = body["next_cursor"]
        if after is None:
            break
    assert sorted(seen) == ["a", "b", "c", "default"]


# --- usage --------------------------------------------------------------------------------------------------


async def test_usage_has_the_shape_that_the_client_declares(
    client: httpx.AsyncClient, database: Database
) -> None:
    await add(database, used())
    body = await report(client)
    assert {name: body[name] for name in body if name != "data"} == {
        "object": "list",
        "organization_id": "org-default",
        "project_id": "proj-default",
        "billing_period": "2026-03",
        "currency": "USD",
        "earliest_window_start": "2026-03-05T00:00:00Z",
        "latest_window_end": "2026-03-06T00:00:00Z",
        "next_cursor": None,
    }
    (window,) = body["data"]
    assert (window["date"], window["start_time"], window["end_time"]) == (
        "2026-03-05", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z",
    )  # fmt: skip
    assert window["line_items"] == [
        {
            "product_name": f"Inference - {side} Tokens",
            "quantity": quantity,
            "unit_price": price,
            "cost": cost,
            "attributes": {"model": "priced"},
            "pricing_dimensions": {"model": "priced"},
        }
        for side, quantity, price, cost in (
            ("Input", "1000", "0.000002", "0.002"),
            ("Output", "100", "0.00001", "0.001"),
        )
    ]
    assert window["usage"] == [
        {
            "model": "priced",
            "key_id": None,
            "operation": None,
            "requests": 1,
            "failed_requests": 0,
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "mean_latency_ms": 50.0,
            "mean_first_token_ms": None,
            "cost": "0.003",
        }
    ]


async def test_without_usage_the_report_is_empty(client: httpx.AsyncClient) -> None:
    body = await report(client)
    assert (body["data"], body["earliest_window_start"], body["latest_window_end"]) == ([], None, None)


async def test_usage_of_another_project_is_never_shown(
    client: httpx.AsyncClient, database: Database, settings: Settings
) -> None:
    other = await project_named(database, "other")
    await add(database, used(), used(project_id=other.id, prompt_tokens=7, model="secret"))
    headers = await key_of(database, settings, other.id)
    body = (await client.get("/v1/billing/usage", params={"month": "2026-03"}, headers=headers)).json()
    assert totals(body, "model", "prompt_tokens") == [("2026-03-05", "secret", 7)]
    body = (
        await client.get("/v1/billing/usage", params={"month": "2026-03", "model": "priced"}, headers=headers)
    ).json()
    assert body["data"] == []


@both_databases
async def test_windows_are_days_or_hours_in_utc(client: httpx.AsyncClient, database: Database) -> None:
    times = ["2026-03-05T00:00", "2026-03-05T23:59:59.999", "2026-03-06T00:00", "2026-03-06T00:59:59.6"]
    await add(database, *(used(created_at=at(time)) for time in times))
    assert totals(await report(client), "requests") == [("2026-03-05", 2), ("2026-03-06", 2)]
    hours = await report(client, granularity="hour")
    assert [(window["start_time"], window["usage"][0]["requests"]) for window in hours["data"]] == [
        ("2026-03-05T00:00:00Z", 1),
        ("2026-03-05T23:00:00Z", 1),
        ("2026-03-06T00:00:00Z", 2),
    ]


@both_databases
async def test_a_month_has_exactly_its_days(client: httpx.AsyncClient, database: Database) -> None:
    times = ["2026-02-28T23:59:59.9", "2026-03-01T00:00", "2026-03-31T23:59:59.9", "2026-04-01T00:00"]
    await add(database, *(used(created_at=at(time)) for time in times))
    assert totals(await report(client), "requests") == [("2026-03-01", 1), ("2026-03-31", 1)]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-05", "2026-03-06"),
        ("2026-03-05T00:00:00Z", "2026-03-05T23:00:00-01:00"),
        (str(at("2026-03-05")), str(int(at("2026-03-06")))),
    ],
)
async def test_a_range_may_be_given_instead_of_a_month(
    client: httpx.AsyncClient, database: Database, start: str, end: str
) -> None:
    days = ["2026-03-04T12:00", "2026-03-05T12:00", "2026-03-06T12:00"]
    await add(database, *(used(created_at=at(day)) for day in days))
    assert totals(await report(client, start=start, end=end), "requests") == [("2026-03-05", 1)]


@both_databases
async def test_usage_is_grouped_as_asked(client: httpx.AsyncClient, database: Database) -> None:
    await add(
        database,
        used(),
        used(key_id="key-b", status=503, completion_tokens=0, latency_ms=100.0),
        used(model="gone", operation="embeddings", first_token_ms=30.0, latency_ms=150.0),
    )
    by_model = await report(client)
    assert totals(by_model, "model", "requests", "failed_requests", "cost") == [
        ("2026-03-05", "gone", 1, 0, "0"),
        ("2026-03-05", "priced", 2, 1, "0.005"),
    ]
    by_key = await report(client, group_by="key,operation,day")
    assert totals(by_key, "model", "key_id", "operation", "requests") == [
        ("2026-03-05", None, "key-a", "embeddings", 1),
        ("2026-03-05", None, "key-a", "chat.completions", 1),
        ("2026-03-05", None, "key-b", "chat.completions", 1),
    ]
    together = await report(client, group_by="")
    assert totals(
        together, "model", "requests", "prompt_tokens", "mean_latency_ms", "mean_first_token_ms"
    ) == [("2026-03-05", None, 3, 3000, 100.0, 30.0)]
    assert totals(await report(client, model="gone"), "model", "requests") == [("2026-03-05", "gone", 1)]


@both_databases
async def test_windows_come_in_pages(client: httpx.AsyncClient, database: Database) -> None:
    days: Sequence[str] = [f"2026-03-{day:02}" for day in (1, 2, 15, 31)]
    await add(database, *(used(created_at=at(day)) for day in days))
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        body = await report(client, **query)
        seen += [window["date"] for window in body["data"]]
        assert body["latest_window_end"] == "2026-04-01T00:00:00Z"
        if body["next_cursor"] is None:
            break
        query["after"] = body["next_cursor"]
    assert seen == days


async def test_this_month_is_the_default(client: httpx.AsyncClient, database: Database) -> None:
    await add(database, used(created_at=datetime.now(UTC).timestamp()))
    body = (await client.get("/v1/billing/usage")).json()
    assert body["billing_period"] == datetime.now(UTC).strftime("%Y-%m")
    assert [total["requests"] for window in body["data"] for total in window["usage"]] == [1]


async def test_another_organisations_usage_is_forbidden(client: httpx.AsyncClient) -> None:
    own = await client.get("/v1/billing/usage", params={"organization_id": "org-default"})
    assert own.status_code == 200
    answer = await client.get("/v1/billing/usage", params={"organization_id": "org-b"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "organization_id")


async def test_a_broken_parameter_is_named(client: httpx.AsyncClient) -> None:
    for name, value in BROKEN:
        answer = await client.get("/v1/billing/usage", params={name: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name), answer.text
