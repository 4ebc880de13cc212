"""The official clients, unmodified, each from its own environment as a child process."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.support import clients
from tests.support.clients import available, check_errors, program
from tests.support.server import Server, running_server

from tutti.base.model import Model

SCRIPTS = {
    "together-1": "together_v1.py",
    "together-2": "together_stainless.py",
    "together-3": "together_stainless.py",
    "openai": "openai_python.py",
    "together-node": "together.mjs",
}
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
    slow = [Model(name=slow_of(it), type="chat", engine="echo", options={"slots": 1}) for it in SCRIPTS]
    with running_server([*ECHO, *slow], max_queue=0) as server, ThreadPoolExecutor(len(SCRIPTS)) as at_once:
        served = Served(server, _new_key(server), tuple(model.name for model in ECHO))
        yield {it: at_once.submit(run, it, served, "check_,retry_") for it in SCRIPTS if available(it)}


@pytest.fixture(scope="module")
def real() -> Iterator[Served]:
    with running_server(REAL) as server:
        yield Served(server, _new_key(server), REAL)


@pytest.mark.parametrize("client", SCRIPTS)
def test_every_text_operation(client: str, echoed: Mapping[str, Future[dict[str, str]]]) -> None:
    """Once the server has a key, every other key is refused; retry-after is obeyed."""
    if client not in echoed:
        pytest.skip("Node is not on this machine")
    done = echoed[client].result()
    assert "retry_429" in done
    _all_well(done)


@pytest.mark.parametrize("client", SCRIPTS)
def test_every_text_operation_on_real_models(client: str, real: Served) -> None:
    """One after the other, since what is said in a batch need not be what is said alone."""
    _all_well(run(client, real, "check_"))


def _all_well(done: Mapping[str, str]) -> None:
    assert len(done) >= 8
    assert not any(done.values()), "\n".join(f"{name}: {error}" for name, error in done.items() if error)


def slow_of(client: str) -> str:
    return f"test/slow-for-{client}"


def run(client: str, served: Served, prefixes: str) -> dict[str, str]:
    """The error of each check, empty where it passed."""
    argv = [*program(client, SCRIPTS[client]), *served.models, prefixes]
    slow = slow_of(client)
    return check_errors(clients.run(argv, served.server, client, key=served.key, SLOW_MODEL=slow))


def _new_key(server: Server) -> str:
    argv = [sys.executable, "-m", "tutti", "keys", "create", "--data-dir", str(server.data_dir), "--json"]
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["key"]
