"""The official clients, unmodified, each from its own environment as a child process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
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


@pytest.fixture(scope="module")
def echoed() -> Iterator[Mapping[str, Future[dict[str, str]]]]:
    """What the checks of each client came to, all run at once: most of their time goes into starting and
    waiting. Each has a slow model of its own to be refused by."""
    slow = [Model(name=slow_of(it), type="chat", engine="echo", options={"slots": 1}) for it in CLIENTS]
    with running_server([*ECHO, *slow], max_queue=0) as server, ThreadPoolExecutor(len(CLIENTS)) as at_once:
        served = Served(server, _new_key(server), tuple(model.name for model in ECHO))
        yield {it: at_once.submit(run, it, served, "check_,retry_") for it in CLIENTS if program(it)}


@pytest.fixture(scope="module")
def real() -> Iterator[Served]:
    with running_server(REAL) as server:
        yield Served(server, _new_key(server), REAL)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_text_operation(client: str, echoed: Mapping[str, Future[dict[str, str]]]) -> None:
    """Once the server has a key, every other key is refused; retry-after is obeyed."""
    if client not in echoed:
        pytest.skip("Node is not on this machine")
    done = echoed[client].result()
    assert "retry_429" in done
    _all_well(done)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_text_operation_on_real_models(client: str, real: Served) -> None:
    """One after the other, since what is said in a batch need not be what is said alone."""
    if not program(client):
        pytest.skip("Node is not on this machine")
    _all_well(run(client, real, "check_"))


def _all_well(done: Mapping[str, str]) -> None:
    assert len(done) >= 8
    assert not any(done.values()), "\n".join(f"{name}: {error}" for name, error in done.items() if error)


def slow_of(client: str) -> str:
    return f"test/slow-for-{client}"


def run(client: str, served: Served, prefixes: str) -> dict[str, str]:
    """The error of each check, empty where it passed."""
    base = served.server.url if client == "together-3" else f"{served.server.url}/v1"
    env = {
        **os.environ,
        "TOGETHER_BASE_URL": base,
        "TOGETHER_API_KEY": served.key,
        "OPENAI_BASE_URL": base,
        "OPENAI_API_KEY": served.key,
        "SLOW_MODEL": slow_of(client),
    }
    argv = [*program(client), *served.models, prefixes]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["check"]: line["error"] for line in lines}


def program(client: str) -> list[str]:
    """Empty where there is no Node."""
    if client in PYTHON_SCRIPTS:
        return [str(python_client(client)), str(SCRIPTS / PYTHON_SCRIPTS[client])]
    folder = node_client()
    if folder is None:
        return []
    script = folder / "together.mjs"
    script.write_bytes((SCRIPTS / "together.mjs").read_bytes())
    return ["node", str(script)]


def _new_key(server: Server) -> str:
    argv = [sys.executable, "-m", "tutti", "keys", "create", "--data-dir", str(server.data_dir), "--json"]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["key"]
