"""Evaluations as the official clients do them: uploaded, created, waited for, read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client
from tests.support.server import Server, running_server

SCRIPTS = Path(__file__).parent / "scripts"
ROWS = [
    {"number": 2, "answer": "yes [[this]]", "other": "-"},
    {"number": 8, "answer": "no [[this]]", "other": "-"},
]
PYTHON_SCRIPTS = {
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


def run(server: Server, client: str, argv: Sequence[str | Path]) -> str:
    """What it printed."""
    env = {
        **os.environ,
        "TOGETHER_BASE_URL": server.url if client in ("", "together-3") else f"{server.url}/v1",
        "TOGETHER_API_KEY": "any",
        "TOGETHER_TELEMETRY_DISABLED": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",
    }
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr + server.output[-3000:]
    return done.stdout


@pytest.mark.parametrize("client", PYTHON_SCRIPTS)
def test_evaluations_in_python(client: str, server: Server, data: Path) -> None:
    script = SCRIPTS / PYTHON_SCRIPTS[client]
    assert run(server, client, [python_client(client), script, data]).endswith("done\n")


def uploaded(server: Server, data: Path) -> str:
    form = {"purpose": "eval", "file_name": data.name, "file_type": "jsonl"}
    files = {"file": (data.name, data.read_bytes())}
    return server.client.post("/v1/files/upload", data=form, files=files).json()["id"]


def wait(server: Server, id: str) -> None:
    give_up_at = time.monotonic() + 100
    while (status := server.client.get(f"/v1/evaluation/{id}").json()["status"]) != "completed":
        assert status in ("pending", "queued", "running") and time.monotonic() < give_up_at
        time.sleep(0.05)


def test_evaluations_on_node(server: Server, data: Path) -> None:
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "evals.mjs"
    script.write_bytes((SCRIPTS / "evals.mjs").read_bytes())
    assert run(server, "together-node", ["node", script, uploaded(server, data)]).endswith("done\n")


def test_the_command_line_of_3_x(server: Server, data: Path) -> None:
    tg = [python_client("together-3").with_name("tg"), "evals"]
    options = ["--judge-model", "echo", "--judge-model-source", "serverless", "--json"]
    options += ["--judge-system-template", "Judge.", "--input-data-file-path", str(data)]
    options += ["--model-a-field", "answer", "--model-b-field", "other"]
    id = json.loads(run(server, "together-3", [*tg, "create", "--type", "compare", *options]))["workflow_id"]
    wait(server, id)
    assert json.loads(run(server, "together-3", [*tg, "retrieve", id, "--json"]))["results"]["A_wins"] == 2
    assert "Winning Model" in run(server, "together-3", [*tg, "list"])


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
    found = json.loads(run(server, "", argv))
    assert (found["status"], found["results"]["pass_percentage"]) == ("completed", 50)
    assert "50.0% pass" in run(server, "", [*tutti, "list"])


def test_the_command_line_of_1_5(server: Server, data: Path) -> None:
    together = [python_client("together-1").with_name("together"), "evaluation"]
    options = ["--judge-model", "echo", "--judge-model-source", "serverless", "--labels", "yes,no"]
    options += ["--judge-system-template", "Judge.", "--pass-labels", "yes", "--model-field", "answer"]
    options += ["--input-data-file-path", uploaded(server, data)]
    created = run(server, "together-1", [*together, "create", "--type", "classify", *options])
    assert json.loads(created)["workflow_id"] in run(server, "together-1", [*together, "list"])
