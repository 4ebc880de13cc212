"""The code interpreter as the official clients and our own command line use it."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.clients.conftest import CHAT
from tests.support.clients import node_client, python_client
from tests.support.environment import made
from tests.support.patience import limit
from tests.support.server import Server, running_server

from tutti.base.settings import Settings
from tutti.sandboxes.environment import environment_folder

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON_SCRIPTS = {"together-1": "interpreter_v1.py", "together-2": "interpreter_stainless.py"}
"""The 3.x client has no code interpreter."""
GUIDE = Path(__file__).parents[2] / "docs/guides/interpreter.md"
QUESTION = '"Use Python: what is 1234 * 5678?"'
CALL = 'call:run_python {"code": "n = globals().get(chr(110), 0) + 1; print(n)"}'
"""What the echo engine takes for an order to call the tool: it obeys as often as it may."""
TUTTI = [sys.executable, "-m", "tutti", "tci"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server(interpreter=True, aliases={CHAT: "echo"}) as server:
        yield server


def run(server: Server, argv: Sequence[str | Path], status: int = 0) -> tuple[str, str]:
    """What it printed to stdout and stderr."""
    env = {
        **os.environ,
        "TOGETHER_BASE_URL": f"{server.url}/v1",
        "TOGETHER_API_KEY": "any",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",
    }
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=limit(280))
    assert done.returncode == status, done.stdout + done.stderr + server.output[-3000:]
    return done.stdout, done.stderr


@pytest.mark.parametrize("client", PYTHON_SCRIPTS)
def test_the_interpreter_in_python(client: str, server: Server) -> None:
    script = SCRIPTS / PYTHON_SCRIPTS[client]
    assert run(server, [python_client(client), script])[0].endswith("done\n")


def test_the_interpreter_on_node(server: Server) -> None:
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "interpreter.mjs"
    script.write_bytes((SCRIPTS / "interpreter.mjs").read_bytes())
    assert run(server, ["node", script])[0].endswith("done\n")


def test_the_first_call_is_tried_again_until_the_environment_is_made() -> None:
    """By the clients themselves: they are told to, long before they would stop waiting."""
    calls = {"together-1": "run", "together-2": "execute"}
    code = "from together import Together as T; print(T().code_interpreter.{}(code='1', language='python'))"
    with running_server([], load_wait_s=1) as server, ThreadPoolExecutor(2) as threads:
        folder = environment_folder(server.data_dir)
        folder.parent.mkdir()
        with folder.with_name(f".{folder.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as if another process made it
            said = [
                threads.submit(run, server, [python_client(client), "-c", code.format(name)])
                for client, name in calls.items()
            ]
            while server.output.count('"status":503') < 2:
                assert server.process.poll() is None and not any(it.done() for it in said), server.output
                time.sleep(0.05)
            folder.symlink_to(made())
        assert all("ses_" in it.result()[0] for it in said)


def test_code_ends_before_the_clients_stop_waiting() -> None:
    """After a minute, if nobody tells them otherwise; and what goes on is given two seconds more."""
    assert Settings().interpreter_time_s + 2 < 55


def test_our_own_command_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n2\n")
    (tmp_path / "one.py").write_text(
        "import sys, pandas, matplotlib.pyplot as plt\n"
        "data = pandas.read_csv('data.csv')\n"
        "print(data.a.sum())\n"
        "print('careful', file=sys.stderr)\n"
        "plt.plot(data.a); plt.show()\n"
    )
    saved = tmp_path / "images"
    for number in (1, 2):  # the second run keeps what the first has saved
        options = ["--file", tmp_path / "data.csv", "--save-dir", saved]
        out, err = run(server, [*TUTTI, "run", tmp_path / "one.py", *options])
        assert out.startswith("3\n") and "careful\n" in err and f"output-{number}.png" in err
        assert (saved / f"output-{number}.png").read_bytes()[1:4] == b"PNG"
    id = err.split()[-1]
    (tmp_path / "two.py").write_text("print(len(data)); 1 / 0")
    out, err = run(server, [*TUTTI, "run", tmp_path / "two.py", "--session", id], status=1)
    assert out == "2\n" and "ZeroDivisionError" in err and id in err
    (tmp_path / "three.py").write_text("len(data)")
    out, _ = run(server, [*TUTTI, "run", tmp_path / "three.py", "--session", id, "--json"])
    assert json.loads(out)["data"]["outputs"][0]["data"]["text/plain"] == "2"
    assert id in run(server, [*TUTTI, "sessions"])[0]
    assert run(server, [*TUTTI, "end", id])[0] == f"{id} is ended\n"
    assert "was ended by a request" in run(server, [*TUTTI, "end", id], status=1)[1]
    _, err = run(server, [*TUTTI, "run", tmp_path / "three.py", "--session", "ses_x"], status=1)
    assert "There is no session ses_x" in err


def test_the_guide(server: Server, tmp_path: Path) -> None:
    """Its samples as written, but for the address and the question."""
    first, loop = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert sample(server, tmp_path, first) == "42\n"
    assert QUESTION in loop
    messages = json.loads(sample(server, tmp_path, loop.replace(QUESTION, repr(CALL))))
    told = [message["content"] for message in messages if message["role"] == "tool"]
    assert told == ["1\n", "2\n"]


def sample(server: Server, folder: Path, code: str) -> str:
    script = folder / "sample.py"
    script.write_text(code.replace("http://127.0.0.1:8000", server.url))
    return run(server, [python_client("together-2"), script])[0]
