"""Keys and their limits, through the whole server."""

import asyncio
import json

import httpx
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.support.budget import examples
from typer.testing import CliRunner

from tutti.access.keys import create_key, server_secret
from tutti.base.settings import Settings
from tutti.cli.keys import app
from tutti.store.db import Database

PATHS = ["/v1/models", "/v1/whoami", "/v3/whoami", "/v1/projects", "/v1/billing/usage", "/v1/nothing"]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def tutti_keys(settings: Settings, *args: str) -> tuple[int, str, str]:
    where = ["--data-dir", str(settings.data_dir), "--database-url", settings.database_url]
    result = CliRunner().invoke(app, [*args, *where])
    return result.exit_code, result.stdout, result.stderr


async def key(database: Database, settings: Settings, **fields: int) -> dict[str, str]:
    return bearer((await create_key(database, server_secret(settings), "laptop", **fields)).secret)  # type: ignore[arg-type]


async def test_without_a_header_there_is_nothing_but_an_error(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    for path in PATHS:
        answer = await client.get(path)
        assert answer.status_code == 401, path
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "authentication_error"
        assert answer.headers["x-should-retry"] == "false"


async def test_probes_and_descriptions_need_no_key(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    for path in ("/livez", "/metrics", "/openapi.json", "/asyncapi.json"):
        assert (await client.get(path)).status_code == 200, path


@hypothesis_settings(
    max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200).filter(lambda value: not set(value) & set(b"\r\n")))
async def test_no_header_breaks_the_server(client: httpx.AsyncClient, value: bytes) -> None:
    for header in (value, b"Bearer " + value):
        assert await raw_status(client, header) in (200, 400, 401)


async def raw_status(client: httpx.AsyncClient, authorization: bytes) -> int:
    """Without a client in between that would refuse to send it."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"GET /v1/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
    writer.write(b"authorization: " + authorization + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1])


async def test_two_authorization_headers_are_refused(client: httpx.AsyncClient) -> None:
    headers = [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    request = httpx.Request("GET", client.base_url.join("/v1/whoami"), headers=headers)
    assert (await client.send(request)).status_code == 401


async def test_a_key_works_until_it_is_revoked(client: httpx.AsyncClient, settings: Settings) -> None:
    code, out, err = await asyncio.to_thread(tutti_keys, settings, "create", "laptop")
    assert code == 0, err
    secret = out.strip()
    assert secret.startswith("tutti_")
    await asyncio.sleep(1.1)
    assert (await client.get("/v1/whoami")).status_code == 401
    me = (await client.get("/v1/whoami", headers=bearer(secret))).json()
    code, out, _ = await asyncio.to_thread(tutti_keys, settings, "list", "--json")
    listed = json.loads(out)
    assert [(entry["id"], entry["revoked_at"]) for entry in listed] == [(me["api_key_id"], None)]
    assert secret not in out and listed[0]["prefix"] in secret
    code, _, err = await asyncio.to_thread(tutti_keys, settings, "revoke", listed[0]["id"])
    assert code == 0, err
    await asyncio.sleep(1.1)
    assert (await client.get("/v1/whoami", headers=bearer(secret))).status_code == 401


async def test_requests_above_the_limit_get_a_429_that_says_when(
    client: httpx.AsyncClient, settings: Settings, database: Database
) -> None:
    headers = await key(database, settings, requests_per_minute=3)
    answers = [await client.get("/v1/projects", headers=headers) for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 2 <= len(refused) <= 5  # fewer than 5 where the minute ended meanwhile
    assert answers[0].headers["x-ratelimit-limit"] == "3"
    assert answers[0].headers["x-ratelimit-remaining"] == "2"
    assert refused[0].json()["error"]["type"] == "rate_limit_error"
    assert refused[0].headers["x-ratelimit-remaining"] == "0"
    assert int(refused[0].headers["x-ratelimit-reset"]) > 0
    assert int(refused[0].headers["retry-after"]) > 0
    assert refused[0].headers["x-should-retry"] == "true"


async def test_answers_to_keys_without_limits_say_nothing_of_limits(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/projects")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


# --- the command line ---------------------------------------------------------------------------------------


def test_a_created_key_is_all_that_goes_to_stdout(settings: Settings) -> None:
    code, out, err = tutti_keys(settings, "create", "laptop")
    assert code == 0
    assert len(out.split()) == 1
    assert "not shown again" in err


def test_keys_of_a_project_are_made_with_it(settings: Settings) -> None:
    _, out, _ = tutti_keys(
        settings, "create", "ci", "--project", "other", "--requests-per-minute", "5", "--json"
    )
    made = json.loads(out)
    assert (made["name"], made["requests_per_minute"], made["tokens_per_minute"]) == ("ci", 5, 0)
    assert made["project_id"] != "proj-default"
    _, again, _ = tutti_keys(settings, "create", "ci2", "--project", "other", "--json")
    assert json.loads(again)["project_id"] == made["project_id"]


def test_the_list_is_a_table(settings: Settings) -> None:
    tutti_keys(settings, "create", "laptop")
    code, out, _ = tutti_keys(settings, "list")
    assert code == 0
    assert "laptop" in out and "tutti_" in out and "NAME" in out


def test_revoking_an_unknown_key_fails(settings: Settings) -> None:
    code, _, err = tutti_keys(settings, "revoke", "key-none")
    assert code == 1
    assert "key-none" in err


def test_an_unreachable_database_is_an_error_without_its_password(settings: Settings) -> None:
    where = ["--data-dir", str(settings.data_dir), "--database-url", "postgresql://a:hunter2@127.0.0.1:1/x"]
    result = CliRunner().invoke(app, ["list", *where])
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr and "hunter2" not in result.stderr
