"""Evaluations as the official clients do them: uploaded, created, waited for, read."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients import program, python_client, run
from tests.support.patience import limit
from tests.support.server import Server, running_server

ROWS = [
    {"number": 2, "answer": "yes [[this]]", "other": "-"},
    {"number": 8, "answer": "no [[this]]", "other": "-"},
]
SCRIPTS = {
    "together-1": "evals_v1.py",
    "together-2": "evals_stainless.py",
    "together-3": "evals_stainless.py",
}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("client", SCRIPTS)
def test_evaluations_in_python(client: str, server: Server, data: Path) -> None:
    assert run([*program(client, SCRIPTS[client]), data], server, client).endswith("done\n")


def uploaded(server: Server, data: Path) -> str:
    form = {"purpose": "eval", "file_name": data.name, "file_type": "jsonl"}
    files = {"file": (data.name, data.read_bytes())}
    return server.client.post("/v1/files/upload", data=form, files=files).json()["id"]


def wait(server: Server, id: str) -> None:
    give_up_at = time.monotonic() + limit(100)
    while (status := server.client.get(f"/v1/evaluation/{id}").json()["status"]) != "completed":
        assert status in ("pending", "queued", "running") and time.monotonic() < give_up_at
        time.sleep(0.05)


def test_evaluations_on_node(server: Server, data: Path) -> None:
    argv = [*program("together-node", "evals.mjs"), uploaded(server, data)]
    assert run(argv, server, "together-node").endswith("done\n")


def test_the_command_line_of_3_x(server: Server, data: Path) -> None:
    tg = [python_client("together-3").with_name("tg"), "evals"]
    options = ["--judge-model", "echo", "--judge-model-source", "serverless", "--json"]
    options += ["--judge-system-template", "Judge.", "--input-data-file-path", str(data)]
    options += ["--model-a-field", "answer", "--model-b-field", "other"]
    id = json.loads(run([*tg, "create", "--type", "compare", *options], server, "together-3"))["workflow_id"]
    wait(server, id)
    assert json.loads(run([*tg, "retrieve", id, "--json"], server, "together-3"))["results"]["A_wins"] == 2
    assert "Winning Model" in run([*tg, "list"], server, "together-3")


def test_our_own_command_line(server: Server, data: Path) -> None:
    tutti = [sys.executable, "-m", "tutti", "evals"]
    options = [
        "--judge-model",
        "echo",
        "--judge-system-template",
        "Judge.",
        "--input-data-file-path",
        str(data),
    ]
    labels = ["--labels", "yes,no", "--pass-labels", "yes", "--model-field", "answer"]
    argv = [*tutti, "create", "--type", "classify", *options, *labels, "--wait", "--json"]
    found = json.loads(run(argv, server))
    assert (found["status"], found["results"]["pass_percentage"]) == ("completed", 50)
    assert "50.0% pass" in run([*tutti, "list"], server)


def test_the_command_line_of_1_5(server: Server, data: Path) -> None:
    together = [python_client("together-1").with_name("together"), "evaluation"]
    options = ["--judge-model", "echo", "--judge-model-source", "serverless", "--labels", "yes,no"]
    options += ["--judge-system-template", "Judge.", "--pass-labels", "yes", "--model-field", "answer"]
    options += ["--input-data-file-path", uploaded(server, data)]
    created = run([*together, "create", "--type", "classify", *options], server, "together-1")
    assert json.loads(created)["workflow_id"] in run([*together, "list"], server, "together-1")
