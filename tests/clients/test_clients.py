"""The official clients, unmodified, each from its own environment as a child process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client
from tests.support.server import Server, running_server

from tutti.base.model import Model

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON_SCRIPTS = {
    "together-1": "together_v1.py",
    "together-2": "together_stainless.py",
    "together-3": "together_stainless.py",
    "openai": "openai_python.py",
}
CLIENTS = (*PYTHON_SCRIPTS, "together-node")
ECHO = (
    Model(name="test/chat", type="chat", engine="echo", capabilities=frozenset({"tools", "json"})),
    Model(name="test/embedding", type="embedding", engine="echo"),
    Model(name="test/rerank", type="rerank", engine="echo"),
)
REAL = (
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "sentence-transformers/all-MiniLM-L6-v2",
    "tutti/minilm-rerank",
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Served:
    server: Server
    key: str
    models: tuple[str, ...]


@pytest.fixture(scope="module", params=["echo", "real models"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Once the server has a key, every other key is refused."""
    models = ECHO if request.param == "echo" else REAL
    with running_server(models) as server:
        names = tuple(model if isinstance(model, str) else model.name for model in models)
        yield Served(server, _new_key(server), names)


@pytest.fixture(scope="module")
def busy() -> Iterator[Served]:
    slow = Model(name="test/slow", type="chat", engine="echo", options={"slots": 1})
    with running_server([slow], max_queue=0) as server:
        yield Served(server, "any", ("test/slow", "-", "-"))


@pytest.mark.parametrize("client", CLIENTS)
def test_every_text_operation(client: str, served: Served) -> None:
    done = run(client, served, "check_")
    assert len(done) >= 8
    assert not any(done.values()), "\n".join(f"{name}: {error}" for name, error in done.items() if error)


@pytest.mark.parametrize("client", CLIENTS)
def test_retry_after_is_obeyed(client: str, busy: Served) -> None:
    assert run(client, busy, "retry_") == {"retry_429": ""}


def run(client: str, served: Served, prefix: str) -> dict[str, str]:
    """The error of each check, empty where it passed."""
    base = served.server.url if client == "together-3" else f"{served.server.url}/v1"
    env = {
        **os.environ,
        "TOGETHER_BASE_URL": base,
        "TOGETHER_API_KEY": served.key,
        "OPENAI_BASE_URL": base,
        "OPENAI_API_KEY": served.key,
    }
    argv = [*_program(client), *served.models, prefix]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["check"]: line["error"] for line in lines}


def _program(client: str) -> list[str]:
    if client in PYTHON_SCRIPTS:
        return [str(python_client(client)), str(SCRIPTS / PYTHON_SCRIPTS[client])]
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "together.mjs"
    script.write_bytes((SCRIPTS / "together.mjs").read_bytes())
    return ["node", str(script)]


def _new_key(server: Server) -> str:
    argv = [sys.executable, "-m", "tutti", "keys", "create", "--data-dir", str(server.data_dir), "--json"]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["key"]
