"""Engines that are slow, hang or end, and what becomes of the requests that they had."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2, pulled

from tutti.base.model import Model

ECHO = Model(name="echo", type="chat", engine="echo", options={"slots": 4})
POISON = "[[crash 1]] a b c"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([ECHO]) as server:
        yield server


def chat(text: str) -> dict[str, Any]:
    return {"model": ECHO.name, "messages": [{"role": "user", "content": text}]}


def restarts(server: Server) -> int:
    line = 'tutti_child_restarts_total{model_name="echo"} '
    return int(float(server.client.get("/metrics").text.partition(line)[2].split("\n")[0] or 0))


def ended_batch(server: Server, bodies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    lines = (json.dumps({"custom_id": name, "body": body}) for name, body in bodies.items())
    files = {"file": ("requests.jsonl", "\n".join(lines).encode())}
    fields = {"file_name": "requests.jsonl", "purpose": "batch-api"}
    file = server.client.post("/v1/files/upload", data=fields, files=files).json()
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    id = server.client.post("/v1/batches", json=asked).json()["job"]["id"]
    give_up_at = time.monotonic() + 300
    while (batch := server.client.get(f"/v1/batches/{id}").json())["status"] != "COMPLETED":
        assert time.monotonic() < give_up_at, batch
        time.sleep(0.1)
    return batch


def lines_of(server: Server, file_id: str) -> dict[str, Any]:
    text = server.client.get(f"/v1/files/{file_id}/content").text
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


def test_a_line_of_a_batch_that_ends_its_engine_becomes_an_error(server: Server) -> None:
    before = restarts(server)
    bodies = {f"good-{number}": chat(f"good {number}") for number in range(12)}
    batch = ended_batch(server, {**bodies, "poison": chat(POISON)})
    assert lines_of(server, batch["output_file_id"]).keys() == bodies.keys()
    [error] = lines_of(server, batch["error_file_id"]).values()
    assert (error["custom_id"], error["error"]["code"]) == ("poison", "ends_engine")
    assert restarts(server) - before <= 2
    assert server.client.post("/v1/chat/completions", json=chat("still here")).status_code == 200


def test_a_client_that_asks_again_and_again_ends_an_engine_twice(server: Server) -> None:
    before = restarts(server)
    told = [server.client.post("/v1/chat/completions", json=chat(f"{POISON} d")) for _ in range(5)]
    codes = [answer.json()["error"]["code"] for answer in told if answer.status_code == 503]
    assert codes == ["engine_ended", *["ends_engine"] * 4]
    assert [answer.headers["x-should-retry"] for answer in told] == ["true", *["false"] * 4]
    assert server.client.post("/v1/chat/completions", json=chat("still here")).status_code == 200
    assert restarts(server) - before == 2


@pytest.mark.timeout(600)
def test_an_engine_that_reads_a_long_prompt_is_not_taken_for_hung() -> None:
    """Its mark stands still for longer than the limit wherever a batch takes as long."""
    pulled(SMOLLM2)
    body = {
        "model": SMOLLM2,
        "messages": [{"role": "user", "content": "Summarise: " + "word " * 1200}],
        "max_tokens": 1,
    }
    with running_server([SMOLLM2], hang_timeout_s=2) as server:
        answer = server.client.post("/v1/chat/completions", json=body, timeout=600)
        assert answer.status_code == 200, answer.text
        assert "starting it again" not in server.output
        long = {**body, "messages": [{"role": "user", "content": "a " * 400_000}]}
        refused = server.client.post("/v1/chat/completions", json=long, timeout=600)
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        assert refused.json()["error"]["message"].startswith("This model's maximum context length is 8192")
