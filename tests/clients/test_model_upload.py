"""The official clients upload an adapter, follow the job, and chat with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.adapters import adapter
from tests.support.clients import node_client, python_client
from tests.support.hub import Hub
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2

SCRIPTS = Path(__file__).parent / "scripts"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(200)]


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
    argv = [str(python_client(client)), str(SCRIPTS / "model_upload.py"), SMOLLM2, how, name]
    assert result(server, argv) == done(name)


def test_the_typescript_client(server: Server) -> None:
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "model_upload.mjs"
    script.write_bytes((SCRIPTS / "model_upload.mjs").read_bytes())
    assert result(server, ["node", str(script), SMOLLM2, "sdk", "node"]) == done("node")


def test_our_own_command(server: Server) -> None:
    argv = [
        sys.executable,
        "-m",
        "tutti",
        "models",
        "upload",
        "--model-name",
        "ours",
        "--model-type",
        "adapter",
    ]
    argv += ["--model-source", "me/lora", "--base-model", SMOLLM2, "--wait"]
    told = subprocess.run(argv, env=environment(server), capture_output=True, text=True, check=True)
    assert "default/ours" in told.stdout
    assert "Job is Complete" in told.stderr
    again = subprocess.run(argv, env=environment(server), capture_output=True, text=True)
    assert again.returncode != 0
    assert "already a model default/ours" in again.stderr


def done(name: str) -> dict[str, str]:
    return {"status": "Complete", "name": f"default/{name}", "model": f"default/{name}"}


def result(server: Server, argv: list[str]) -> dict[str, str]:
    told = subprocess.run(argv, env=environment(server), capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr + server.output[-2000:]
    return json.loads(told.stdout.splitlines()[-1])


def environment(server: Server) -> dict[str, str]:
    return {
        **os.environ,
        "TOGETHER_BASE_URL": f"{server.url}/v1",
        "TOGETHER_API_KEY": "any",
        "TOGETHER_TELEMETRY_DISABLED": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",
    }
