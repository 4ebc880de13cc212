"""The official clients upload an adapter, follow the job, and chat with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.adapters import adapter
from tests.support.clients import environment, program, run
from tests.support.hub import Hub
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with (
        Hub(repos={"me/lora": adapter(1, layers=2)}) as hub,
        running_server([SMOLLM2], lent=[SMOLLM2], hub_url=hub.url, threads=2) as server,
    ):
        yield server


@pytest.mark.parametrize("how", ["sdk", "cli"])
@pytest.mark.parametrize("client", ["together-1", "together-2"])
def test_python_clients(server: Server, client: str, how: str) -> None:
    name = f"{client}-{how}"
    argv = [*program(client, "model_upload.py"), SMOLLM2, how, name]
    assert last_line(run(argv, server, client)) == done(name)


def test_the_typescript_client(server: Server) -> None:
    argv = [*program("together-node", "model_upload.mjs"), SMOLLM2, "sdk", "node"]
    assert last_line(run(argv, server, "together-node")) == done("node")


def test_our_own_command(server: Server) -> None:
    argv = [sys.executable, "-m", "tutti", "models", "upload", "--model-name", "ours"]
    argv += ["--model-type", "adapter", "--model-source", "me/lora", "--base-model", SMOLLM2, "--wait"]
    env = {**os.environ, **environment(server.url)}
    told = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert "default/ours" in told.stdout
    assert "Job is Complete" in told.stderr
    again = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert again.returncode != 0
    assert "already a model default/ours" in again.stderr


def done(name: str) -> dict[str, str]:
    return {"status": "Complete", "name": f"default/{name}", "model": f"default/{name}"}


def last_line(printed: str) -> dict[str, str]:
    return json.loads(printed.splitlines()[-1])
