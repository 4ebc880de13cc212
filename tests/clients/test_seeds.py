"""Every code sample of seeds 001, 002 and 004 that concerns text, run as written.

Only the base URL changes; model names are covered by the aliases of the server. What a sample takes for
granted (an import made in an earlier sample, the function of the reader) stands in its preamble.
"""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client, run
from tests.support.server import Server

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
Sample = tuple[str, str, int]
"""How it is run, its seed, its number there."""

NO_NODE = "Node is not on this machine"
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
TRIES = {("002", 8): 3, ("002", 9): 3, ("002", 10): 3, ("004", 14): 3, ("004", 15): 3}
"""Samples that leave to a small model, at a temperature, whether it calls the tool at all and with which
arguments, or whether its JSON comes to an end before the limit of tokens: any of so many runs may be the one
that succeeds. What they send is the same in every run."""
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


def run_until_it_succeeds(argv: list[str], server: Server, client: str, cwd: Path, tries: int) -> str:
    for _ in range(tries - 1):
        with contextlib.suppress(AssertionError):
            return run(argv, server, client, cwd=cwd)
    return run(argv, server, client, cwd=cwd)


def python_sample(seed: str, number: int, server: Server, folder: Path) -> str:
    code = PYTHON[seed][number] + sample(seed, number).replace(HOST, f"{server.url}/v1")
    script = folder / "sample.py"
    script.write_text(f"{code}\n{CHECKS.get((seed, number), '')}\n")
    client = "openai" if "from openai" in code else "together-3"
    argv = [str(python_client(client)), str(script)]
    return run_until_it_succeeds(argv, server, client, folder, TRIES.get((seed, number), 1))


def typescript_sample(seed: str, number: int, server: Server, _: Path) -> str:
    folder = node_client()
    if folder is None:
        return NO_NODE
    script = folder / f"seed-{seed}-{number}.mjs"
    script.write_text(sample(seed, number))
    return run(["node", str(script)], server, "together-node", cwd=folder)


def curl_sample(seed: str, number: int, server: Server, folder: Path) -> str:
    command = sample(seed, number).replace(HOST, f"{server.url}/v1")
    return run(["bash", "-c", command], server, cwd=folder)


def cli_sample(seed: str, number: int, server: Server, folder: Path, *, ours: bool = False) -> str:
    client = "" if ours else "together-1"
    python = Path(sys.executable) if ours else python_client(client)
    program = python.with_name("tutti" if ours else "together")
    commands = re.sub(r"(?m)^together ", f"{program} ", sample(seed, number))
    return run(["bash", "-ec", commands], server, client, cwd=folder, NO_COLOR="1")


HOW: Mapping[str, Callable[[str, int, Server, Path], str]] = {
    "python": python_sample,
    "typescript": typescript_sample,
    "curl": curl_sample,
    "together": cli_sample,
    "tutti": partial(cli_sample, ours=True),
}
SAMPLES = [
    *(("python", seed, number) for seed, blocks in PYTHON.items() for number in blocks),
    *(("typescript", *it) for it in TYPESCRIPT),
    *(("curl", *it) for it in CURL),
    *((cli, *it) for cli in ("together", "tutti") for it in CLI),
]


@pytest.fixture(scope="module")
def outputs(
    request: pytest.FixtureRequest,
    seed_server: Server,
    seed_echo: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[Sample, Future[str]]]:
    """What the chosen samples print, some of them run at once: most of their time goes into starting."""
    chosen = [it.callspec.params["which"] for it in request.session.items if it.module is request.module]
    with ThreadPoolExecutor(2) as some:
        yield {
            (how, seed, number): some.submit(
                HOW[how],
                seed,
                number,
                seed_server if (seed, number) in CHECKS else seed_echo,
                tmp_path_factory.mktemp("s"),
            )
            for how, seed, number in chosen
        }


@pytest.mark.parametrize("which", SAMPLES, ids=lambda it: "-".join(map(str, it)))
def test_sample(which: Sample, outputs: Mapping[Sample, Future[str]]) -> None:
    how, seed, number = which
    output = outputs[which].result()
    if output == NO_NODE:
        pytest.skip(NO_NODE)
    if how == "curl":
        assert ('"chat.completion.chunk"' if seed == "001" else '"chat.completion"') in output
    assert output.strip() or (how == "python" and (seed, number) not in PRINTS)
