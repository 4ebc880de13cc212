"""Every code sample of seeds 001, 002 and 004 that concerns text, run as written.

Only the base URL changes; model names are covered by the aliases of the server. What a sample takes for
granted (an import made in an earlier sample, the function of the reader) stands in its preamble.
"""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client
from tests.support.server import Server

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
HOST = "https://api.together.xyz/v1"

CLIENT = "import json\nfrom together import Together\nclient = Together()\n"
CITY = (
    "def get_weather(location): return {'location': location, 'sky': 'clear'}\n"
    "messages = [{'role': 'user', 'content': 'Weather in NYC?'}]\n"
)
ANSWERED = CLIENT + (
    "response = client.chat.completions.create(model='meta-llama/x', max_tokens=20,"
    " messages=[{'role': 'user', 'content': 'Hi'}])\n"
)
PYTHON = {
    "001": {0: ""},
    "002": {
        0: "",
        3: CLIENT,
        4: CLIENT,
        5: "",
        6: "",
        7: CLIENT,
        8: CITY,
        9: CLIENT,
        10: CLIENT,
        11: CLIENT,
        12: CLIENT,
        13: CLIENT,
        14: ANSWERED,
    },
    "004": {2: "", 12: CLIENT, 13: "", 14: CLIENT, 15: CLIENT, 21: CLIENT, 22: CLIENT, 23: CLIENT, 24: ""},
}
TYPESCRIPT = [("001", 1), ("002", 1), ("004", 3)]
CURL = [("001", 2), ("002", 2)]
CLI = [("004", 4), ("004", 5), ("004", 6), ("004", 8), ("004", 11)]
PRINTS = {("001", 0), ("002", 0), ("002", 3), ("002", 12), ("004", 2), ("004", 12), ("004", 13), ("004", 23)}
TRIES = {("002", 8): 3}
"""Samples that leave to a small model, at a temperature, whether it calls the tool at all and with which
arguments: any of so many runs may be the one that succeeds. What they send is the same in every run."""
CHECKS = {
    ("002", 8): "assert tool_calls[0].function.name == 'get_weather'; assert final.choices[0].message",
    ("002", 9): "assert result.title and isinstance(result.actionItems, list)",
    ("002", 10): "json.loads(response.choices[0].message.content)",
    ("002", 11): "assert response.choices[0].message.content in ('positive', 'neutral', 'negative')",
    ("004", 14): "json.loads(response.choices[0].message.content)",
    (
        "004",
        15,
    ): "person = json.loads(response.choices[0].message.content); assert isinstance(person['age'], int)",
    ("004", 22): "assert len(response.data[0].embedding) == 384",
    ("004", 23): "assert response.results[0].index == 0 and len(response.results) == 2",
}

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not SEEDS.exists(), reason="the seeds are not beside this checkout"),
]


def sample(seed: str, number: int) -> str:
    """The text of the numbered code block of a seed, its indentation taken off."""
    text = next(SEEDS.glob(f"{seed}_*")).read_text()
    block = re.findall(r"```\w+\n(.*?)```", text, re.DOTALL)[number]
    lines = block.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[indent:] for line in lines)


def run(argv: list[str], server: Server, cwd: Path, *, v1: bool = False) -> str:
    base = f"{server.url}/v1" if v1 else server.url
    env = {**os.environ, "TOGETHER_BASE_URL": base, "TOGETHER_API_KEY": "a-key", "NO_COLOR": "1"}
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_until_it_succeeds(argv: list[str], server: Server, cwd: Path, tries: int) -> str:
    for _ in range(tries - 1):
        with contextlib.suppress(AssertionError):
            return run(argv, server, cwd)
    return run(argv, server, cwd)


@pytest.mark.parametrize(("seed", "number"), [(s, n) for s, blocks in PYTHON.items() for n in blocks])
def test_python_sample(seed: str, number: int, seed_server: Server, tmp_path: Path) -> None:
    code = PYTHON[seed][number] + sample(seed, number).replace(HOST, f"{seed_server.url}/v1")
    script = tmp_path / "sample.py"
    script.write_text(f"{code}\n{CHECKS.get((seed, number), '')}\n")
    client = "openai" if "from openai" in code else "together-3"
    argv = [str(python_client(client)), str(script)]
    output = run_until_it_succeeds(argv, seed_server, tmp_path, TRIES.get((seed, number), 1))
    assert output.strip() or (seed, number) not in PRINTS


@pytest.mark.parametrize(("seed", "number"), TYPESCRIPT)
def test_typescript_sample(seed: str, number: int, seed_server: Server) -> None:
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / f"seed-{seed}-{number}.mjs"
    script.write_text(sample(seed, number))
    assert run(["node", str(script)], seed_server, folder, v1=True).strip()


@pytest.mark.parametrize(("seed", "number"), CURL)
def test_curl_sample(seed: str, number: int, seed_server: Server, tmp_path: Path) -> None:
    command = sample(seed, number).replace(HOST, f"{seed_server.url}/v1")
    output = run(["bash", "-c", command], seed_server, tmp_path)
    assert ('"chat.completion.chunk"' if seed == "001" else '"chat.completion"') in output


@pytest.mark.parametrize("client", ["together-1", "tutti"])
@pytest.mark.parametrize(("seed", "number"), CLI)
def test_cli_sample(seed: str, number: int, client: str, seed_server: Server, tmp_path: Path) -> None:
    python = Path(sys.executable) if client == "tutti" else python_client(client)
    program = python.with_name("tutti" if client == "tutti" else "together")
    commands = re.sub(r"(?m)^together ", f"{program} ", sample(seed, number))
    assert run(["bash", "-ec", commands], seed_server, tmp_path, v1=True).strip()
