"""What a person sees at a terminal who starts the server for the first time, until Ctrl-C."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.hub import Fault, Hub, sha256
from tests.support.patience import limit
from tests.support.processes import gone
from tests.support.terminal import Terminal, at_terminal
from tests.support.weights import noise

from tutti.base.settings import Settings

REPO = "owner/repo"
WEIGHTS = noise(2_000_000)
ENTRY = f"""["first/model"]
type = "chat"
engine = "echo"
[["first/model".files]]
name = "weights.txt"
sha256 = "{sha256(WEIGHTS)}"
size_bytes = {len(WEIGHTS)}
sources = [{{ hub = "{REPO}@main:weights.txt" }}]
"""


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("first")
    (folder / "models.toml").write_text(ENTRY)
    fault = Fault()
    with Hub(repos={REPO: {"weights.txt": WEIGHTS}}, faults={"weights.txt": fault}) as hub:
        argv = [sys.executable, "-m", "tutti", "serve", "--port", "0", "--model", "first/model"]
        argv += ["--catalog", str(folder / "models.toml"), "--hub-url", hub.url]
        with at_terminal(argv, {"PATH": os.environ["PATH"], "HOME": str(folder)}) as screen:
            fault.hold = lambda: None if len(set(steps(screen.written))) > 3 else time.sleep(0.25)
            screen.wait_for("from openai", within_s=100)
            yield screen


def steps(written: str) -> list[float]:
    """What the bar said: megabytes that had come."""
    return [float(it) for it in re.findall(r"(\d+\.\d)/2\.0 MB", written)]


def test_without_any_flag_it_listens_on_the_loopback_with_the_small_chat_model() -> None:
    told = {name: it.get_default(call_default_factory=True) for name, it in Settings.model_fields.items()}
    assert (told["host"], told["port"], told["workers"]) == ("127.0.0.1", 8000, 1)
    assert told["models"] == ["Qwen/Qwen2.5-Coder-0.5B-Instruct"]
    assert told["data_dir"] == Path("~/.tutti").expanduser()


def test_one_bar_shows_how_the_pull_gets_on(screen: Terminal) -> None:
    before = screen.written[: screen.written.index("Tutti is ready")]
    drawn = [it for it in before.split("\r\x1b[2K") if "first/model" in it]
    assert len(drawn) > 2
    assert {it.count("first/model") for it in drawn} == {1}
    done = steps(before)
    assert done == sorted(done)
    assert len(set(done)) > 2


def test_the_banner_names_the_url_and_the_key_and_three_lines_to_try(screen: Terminal) -> None:
    banner = screen.written[screen.written.index("Tutti is ready") :]
    assert re.search(r"http://127\.0\.0\.1:\d+/v1", banner)
    assert "API key" in banner
    assert [name for name in ("curl ", "from together", "from openai") if name not in banner] == []


def test_the_line_for_curl_works_as_it_is_printed(screen: Terminal) -> None:
    line = re.search(r"^ *(curl .*)$", screen.written.replace("\r", ""), re.MULTILINE)
    assert line is not None
    answer = subprocess.run(
        ["bash", "-c", f"{line[1]} -sf"], capture_output=True, text=True, timeout=limit(60)
    )
    assert answer.returncode == 0, answer.stderr
    assert '"chat.completion"' in answer.stdout


async def test_ctrl_c_ends_it_well_and_leaves_nothing(screen: Terminal) -> None:
    children = [it.pid for it in psutil.Process(screen.process.pid).children(recursive=True)]
    screen.type("\x03")
    assert screen.end() == 0
    assert len(children) >= 4  # an API worker and an engine, each under its shepherd
    await gone(children)
    assert "Traceback" not in screen.written
