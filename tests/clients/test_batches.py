"""Batches as the official clients and our own command line do them: submitted, waited for, read."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from tests.support.clients import environment, program, python_client, run
from tests.support.patience import limit
from tests.support.server import Server, running_server

SCRIPTS = {
    "together-1": "batches_v1.py",
    "together-2": "batches_stainless.py",
    "together-3": "batches_stainless.py",
    "openai": "batches_openai.py",
}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def requests(**contents: object) -> str:
    """A line for each; a client's checks may want method and url."""
    return "".join(
        json.dumps(
            {
                "custom_id": id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "echo", "messages": messages},
            }
        )
        + "\n"
        for id, messages in contents.items()
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text(requests(good=[{"role": "user", "content": "hello there"}], wrong=tmp_path.name))
    return path


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    path = tmp_path / "slow.jsonl"
    path.write_text(requests(slow=[{"role": "user", "content": f"[[sleep 600]] {tmp_path.name}"}]))
    return path


@pytest.mark.parametrize("client", SCRIPTS)
def test_batches_in_python(client: str, server: Server, data: Path, slow: Path) -> None:
    argv = [*program(client, SCRIPTS[client]), data, slow]
    assert run(argv, server, client).endswith("done\n")


def uploaded(server: Server, file: Path) -> str:
    form = {"purpose": "batch-api", "file_name": file.name, "file_type": "jsonl"}
    files = {"file": (file.name, file.read_bytes())}
    return server.client.post("/v1/files/upload", data=form, files=files).json()["id"]


def test_batches_on_node(server: Server, data: Path, slow: Path) -> None:
    argv = [*program("together-node", "batches.cjs"), uploaded(server, data), uploaded(server, slow)]
    assert run(argv, server, "together-node").endswith("done\n")


def wait(server: Server, id: str, status: str) -> None:
    give_up_at = time.monotonic() + limit(100)
    while server.client.get(f"/v1/batches/{id}").json()["status"] != status:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_the_command_line_of_3_x(server: Server, data: Path, slow: Path, tmp_path: Path) -> None:
    tg = [python_client("together-3").with_name("tg"), "batches"]
    submitted = run([*tg, "submit", data, "chat.completions", "--json"], server, "together-3")
    id = json.loads(submitted)["job"]["id"]
    wait(server, id, "COMPLETED")
    assert "Completed" in run([*tg, "get", id], server, "together-3")
    target = tmp_path / "out.jsonl"
    run([*tg, "download", id, "--output", target], server, "together-3")
    assert json.loads(target.read_text())["custom_id"] == "good"
    assert json.loads((tmp_path / "out.errors.jsonl").read_text())["custom_id"] == "wrong"
    assert id in run([*tg, "list", "--json"], server, "together-3")
    body = {"input_file_id": uploaded(server, slow), "endpoint": "/v1/chat/completions"}
    other = server.client.post("/v1/batches", json=body).json()["id"]
    assert "Cancelled" in run([*tg, "cancel", other], server, "together-3")
    wait(server, other, "CANCELLED")


def test_our_own_command_line(server: Server, data: Path, slow: Path, tmp_path: Path) -> None:
    tutti = [sys.executable, "-m", "tutti", "batches"]
    batch = json.loads(run([*tutti, "submit", data, "chat.completions", "--wait", "--json"], server))
    assert batch["status"] == "COMPLETED"
    id = batch["id"]
    assert f"tutti batches download {id}" in run([*tutti, "retrieve", id], server)
    assert "hello there" in run([*tutti, "download", id], server)
    target = tmp_path / "out.jsonl"
    run([*tutti, "download", id, "-o", target], server)
    assert json.loads(target.read_text())["custom_id"] == "good"
    assert json.loads((tmp_path / "out.errors.jsonl").read_text())["custom_id"] == "wrong"
    other = interrupted(server, [*tutti, "submit", slow, "chat.completions", "--wait"])
    run([*tutti, "cancel", other], server)
    wait(server, other, "CANCELLED")
    listed = run([*tutti, "list"], server)
    assert id in listed and other in listed


def interrupted(server: Server, argv: Sequence[str | Path]) -> str:
    """The id of the batch that it waited for when Ctrl-C was pressed."""
    env = {**os.environ, **environment(server.url)}
    with Popen(argv, env=env, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        id = process.stderr.readline().split()[-1]
        assert process.stderr.readline() in ("tutti: VALIDATING\n", "tutti: IN_PROGRESS\n")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=limit(200))[1]
        assert f"the job goes on: `tutti batches retrieve {id}`" in said
        assert process.returncode == 130
    return id
