"""Batches from the request to the files of results."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.batches.conftest import CHAT, CHATS, METERED, SHARING, Client, chat, client_of
from tests.support.engines import Running, until_telling
from tests.support.fleet import until
from tests.support.patience import limit
from tests.support.platform import job_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_highest_priority_goes_first(url: str, folder: Path) -> None:
    """Of those that wait. This test is the first here: nothing works them off until all are there."""
    async with client_of(url) as http:
        client = Client(http)
        made = {number: (await client.create([chat("a")], priority=number))["id"] for number in (0, -3, 7, 2)}
        async with job_worker(folder):
            for id in made.values():
                await client.ended(id)
    with closing(sqlite3.connect(folder / "tutti.db")) as database:
        started = dict(database.execute("SELECT id, started_at FROM jobs WHERE kind = 'batch'"))
    assert sorted(made, key=lambda number: started[made[number]]) == [7, 2, 0, -3]


async def test_every_request_has_one_result(client: Client) -> None:
    requests = [chat(f"r{number}", f"number {number}") for number in range(300)]
    created = await client.create(requests)
    assert created["status"] == "VALIDATING"
    assert created["job"]["id"] == created["id"]
    batch = await client.ended(created["id"])
    assert batch["status"] == "COMPLETED"
    assert batch["progress"] == 100.0
    assert batch["model_id"] == CHAT.name
    assert "error_file_id" not in batch
    results = await client.results(batch)
    assert {id: _said(result) for id, result in results.items()} == {
        f"r{number}": f"number {number}" for number in range(300)
    }
    seen = await client.batch(created["id"], "/openai")
    assert seen["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
    assert seen["usage"]["total_tokens"] == 300 * 5


def _said(result: Mapping[str, Any]) -> str:
    assert result["response"]["status_code"] == 200
    assert result["error"] is None
    return result["response"]["body"]["choices"][0]["message"]["content"]


async def test_what_is_refused_is_in_the_error_file_and_the_rest_is_done(client: Client) -> None:
    requests = [
        chat("good"),
        chat("streamed", stream=True),
        chat("wrong", temperature="hot"),
        chat("unknown", model="no/such-model"),
        chat("broken", "[[error 500]]"),
        {"custom_id": "empty", "body": {}},
    ]
    batch = await client.ended((await client.create(requests))["id"])
    assert batch["status"] == "COMPLETED"
    assert set(await client.results(batch)) == {"good"}
    errors = await client.results(batch, "error")
    assert {id: (it["response"] or {}).get("status_code") for id, it in errors.items()} == {
        "streamed": None,
        "wrong": 400,
        "unknown": 404,
        "broken": 500,
        "empty": 400,
    }
    assert errors["streamed"]["error"]["code"] == "stream_not_supported"
    assert errors["unknown"]["error"]["code"] == "model_not_found"
    assert errors["wrong"]["error"]["param"] == "temperature"


@pytest.mark.parametrize(
    ("endpoint", "body", "key"),
    [
        ("/v1/completions", {"model": "test/language", "prompt": "a b"}, "choices"),
        ("/v1/embeddings", {"model": "test/embedding", "input": "a b"}, "data"),
        ("/v1/rerank", {"model": "test/rerank", "query": "a", "documents": ["a b", "c"]}, "results"),
    ],
)
async def test_other_endpoints(client: Client, endpoint: str, body: dict[str, Any], key: str) -> None:
    created = await client.create([{"custom_id": "a", "body": body}], endpoint)
    results = await client.results(await client.ended(created["id"]))
    assert results["a"]["response"]["body"][key]


async def test_model_id_is_for_requests_without_a_model(client: Client) -> None:
    bare = chat("bare")
    del bare["body"]["model"]
    named = chat("named", model=SHARING.name)
    batch = await client.ended((await client.create([bare, named], model_id=CHAT.name))["id"])
    models = {id: it["response"]["body"]["model"] for id, it in (await client.results(batch)).items()}
    assert models == {"bare": CHAT.name, "named": SHARING.name}


async def test_answers_have_the_shape_that_the_batchs_client_speaks(client: Client) -> None:
    file_id = await client.upload([chat("a")])
    body = {"input_file_id": file_id, "endpoint": CHATS, "completion_window": "24h"}
    created = await client.http.post("/openai/v1/batches", json=body)
    assert created.status_code == 200
    batch = await client.ended(created.json()["id"])
    answer = (await client.results(batch))["a"]["response"]["body"]
    live = await client.http.post("/openai/v1/chat/completions", json=chat("a")["body"])
    assert answer.keys() == live.json().keys()


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("{}\n", 1, "Line 1: custom_id must be"),
        (
            '{"custom_id":"a","body":{}}\n{"custom_id":"a","body":{}}',
            2,
            "Line 2: custom_id a is that of line 1",
        ),
        ('{"custom_id":"a","url":"/v1/embeddings","body":{}}', 1, "Line 1: url must be /v1/chat/completions"),
        ('{"custom_id":"a","body":{}}\nnonsense\n', 2, "Line 2: The line cannot be read"),
        ("\n\n", None, "The file has no requests."),
    ],
)
async def test_a_file_that_is_wrong_fails_before_anything_runs(
    client: Client, text: str, line: int | None, told: str
) -> None:
    batch = await client.ended((await client.create(text))["id"])
    assert batch["status"] == "FAILED"
    assert batch["error"].startswith(told)
    assert "output_file_id" not in batch
    seen = await client.batch(batch["id"], "/openai")
    assert seen["status"] == "failed"
    assert seen["errors"]["data"][0].get("line") == line
    assert "failed_at" in seen


async def test_cancelling_keeps_what_is_done(client: Client) -> None:
    slow = [chat(f"slow{number}", "[[sleep 300]] late") for number in range(20)]
    created = await client.create([*(chat(f"fast{number}") for number in range(3)), *slow])
    await _until_done(client, created["id"], 3)
    answer = (await client.http.post(f"/v1/batches/{created['id']}/cancel")).json()
    assert answer["status"] == "IN_PROGRESS"
    assert (await client.batch(created["id"], "/openai"))["status"] in ("cancelling", "cancelled")
    batch = await client.ended(created["id"])
    assert (batch["status"], batch["progress"]) == ("CANCELLED", round(100 * 3 / 23, 2))
    assert set(await client.results(batch)) == {"fast0", "fast1", "fast2"}
    errors = await client.results(batch, "error")
    assert {it["error"]["code"] for it in errors.values()} == {"batch_cancelled"}
    assert len(errors) == 20
    counts = (await client.batch(created["id"], "/openai"))["request_counts"]
    assert counts == {"total": 23, "completed": 3, "failed": 20}
    again = await client.http.post(f"/v1/batches/{created['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "CANCELLED")


async def test_an_expired_batch_keeps_what_is_done(client: Client) -> None:
    requests = [chat("fast"), *(chat(f"slow{number}", "[[sleep 300]] late") for number in range(20))]
    for window in ("2s", "30s"):
        created = await client.create(requests, completion_window=window)
        batch = await client.ended(created["id"])
        if "output_file_id" in batch:  # else it expired before anything was done, on a busy machine
            break
    assert (batch["status"], batch["progress"]) == ("EXPIRED", round(100 * 1 / 21, 2))
    assert set(await client.results(batch)) == {"fast"}
    errors = await client.results(batch, "error")
    assert {it["error"]["code"] for it in errors.values()} == {"batch_expired"}
    assert len(errors) == 20
    seen = await client.batch(created["id"], "/openai")
    assert seen["request_counts"] == {"total": 21, "completed": 1, "failed": 20}
    refused = await client.http.post(f"/v1/batches/{created['id']}/cancel")
    assert refused.status_code == 400


async def test_a_batch_that_waits_too_long_behind_others_expires(client: Client) -> None:
    before = [await client.create([chat("slow", "[[sleep 300]] late")]) for _ in range(2)]
    for other in before:
        await _until_in_progress(client, other["id"])
    waits = await client.create([chat("a")], completion_window="1s")
    batch = await client.ended(waits["id"])
    assert batch["status"] == "EXPIRED"
    for other in before:
        assert (await client.batch(other["id"]))["status"] == "IN_PROGRESS"
        await client.http.post(f"/v1/batches/{other['id']}/cancel")
        assert (await client.ended(other["id"]))["status"] == "CANCELLED"


async def _until_done(client: Client, id: str, count: int) -> None:
    async with asyncio.timeout(limit(60)):
        while (await client.batch(id, "/openai"))["request_counts"]["completed"] < count:
            await asyncio.sleep(0.05)


async def _until_in_progress(client: Client, id: str) -> None:
    async with asyncio.timeout(limit(60)):
        while (await client.batch(id))["status"] == "VALIDATING":
            await asyncio.sleep(0.02)


async def test_a_file_that_is_not_there_is_no_input(client: Client) -> None:
    deleted = await client.upload([chat("a")])
    assert (await client.http.delete(f"/v1/files/{deleted}")).status_code == 200
    for file_id in (deleted, "nope"):
        answer = await client.http.post("/v1/batches", json={"input_file_id": file_id, "endpoint": CHATS})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (404, "input_file_id")
        assert f"no file {file_id}" in error["message"] and "batch-api" in error["message"]


async def test_requests_make_way_for_a_clients_and_come_again(client: Client, engine: Running) -> None:
    requests = [chat(f"r{number}", "[[sleep 1.5]] hello", model=SHARING.name) for number in range(4)]
    created = await client.create(requests)
    await until_telling(engine, busy=4)
    body = chat("", "[[sleep 0.2]] live", model=SHARING.name)["body"]
    assert (await client.http.post(CHATS, json=body)).status_code == 200
    assert (await client.batch(created["id"], "/openai"))["request_counts"]["completed"] == 0
    batch = await client.ended(created["id"])
    assert {id: _said(it).strip() for id, it in (await client.results(batch)).items()} == {
        f"r{number}": "hello" for number in range(4)
    }


async def test_what_is_served_is_metered_once(client: Client) -> None:
    requests = [chat("a", model=METERED.name), chat("b", model=METERED.name, temperature="hot")]
    await client.ended((await client.create(requests))["id"])

    async def is_counted() -> bool:
        return await _used(client) > 0

    await until(is_counted, 30)
    await asyncio.sleep(0.5)  # in which a second one would come
    assert await _used(client) == 1


async def _used(client: Client) -> int:
    report = (await client.http.get("/v1/billing/usage", params={"model": METERED.name})).json()
    return sum(used["requests"] for window in report["data"] for used in window["usage"])


# --- creating, listing, retrieving --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"endpoint": "/v1/images/generations"}, "endpoint"),
        ({"endpoint": "/v1/nothing"}, "endpoint"),
        ({"endpoint": 7}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"priority": "high"}, "priority"),
        ({"model_id": "no/such-model"}, "model"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
    ],
)
async def test_a_wrong_field_is_named(client: Client, said: dict[str, Any], param: str) -> None:
    file_id = await client.upload([chat("a")])
    answer = await client.http.post("/v1/batches", json={"input_file_id": file_id, "endpoint": CHATS, **said})
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"].startswith(param)


async def test_the_file_must_be_for_batches(client: Client) -> None:
    for said in ({"purpose": "eval"}, {"file_type": "csv", "file_name": "a.csv"}):
        file_id = await client.upload("a,b\n", **said)
        answer = await client.http.post("/v1/batches", json={"input_file_id": file_id, "endpoint": CHATS})
        assert answer.status_code == 400, said
        assert answer.json()["error"]["param"] == "input_file_id"


async def test_openais_clients_page_through_the_list(client: Client) -> None:
    made = [(await client.create([chat("a")], metadata={"place": str(place)}))["id"] for place in range(3)]
    async with client_of(str(client.http.base_url), "OpenAI/Python 3.52.0") as http:
        first = (await http.get("/v1/batches", params={"limit": 2})).json()
        assert [it["id"] for it in first["data"]] == [made[2], made[1]]
        assert (first["has_more"], first["last_id"]) == (True, made[1])
        second = (await http.get("/v1/batches", params={"limit": 1, "after": made[1]})).json()
        assert [it["metadata"] for it in second["data"]] == [{"place": "0"}]
    listed = (await client.http.get("/v1/batches")).json()
    assert [it["id"] for it in listed[:3]] == made[::-1]


async def test_what_belongs_to_others_is_not_there(client: Client) -> None:
    for method, path in (("GET", "/v1/batches/nothing"), ("POST", "/v1/batches/nothing/cancel")):
        answer = await client.http.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "batch_not_found"
    answer = await client.http.get("/v1/batches", params={"after": "nothing"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_a_batch_that_was_not_begun_can_be_cancelled(url: str, client: Client) -> None:
    many = [await client.create([chat("a", "[[sleep 300]] late")]) for _ in range(4)]
    last = many[-1]["id"]  # a project has two at once
    answer: httpx.Response = await client.http.post(f"/v1/batches/{last}/cancel")
    assert answer.json()["status"] == "VALIDATING"
    batch = await client.ended(last)
    assert batch["status"] == "CANCELLED"
    assert "output_file_id" not in batch
    for other in many[:-1]:
        await client.http.post(f"/v1/batches/{other['id']}/cancel")
        await client.ended(other["id"])
