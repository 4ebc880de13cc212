"""What a person sees who starts the server for the first time."""

import re
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.support.server import Server, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def printed(server: Server) -> str:
    """The server may take requests a moment before it says so."""
    give_up_at = time.monotonic() + 10
    while "from openai" not in server.output and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return server.output


def test_the_banner_names_the_url_and_the_key_and_three_lines_to_try(server: Server) -> None:
    banner = printed(server)
    assert f"{server.url}/v1" in banner
    assert "API key" in banner
    assert [name for name in ("curl ", "from together", "from openai") if name not in banner] == []


def test_the_line_for_curl_works_as_it_is_printed(server: Server) -> None:
    line = re.search(r"^ *(curl .*)$", printed(server), re.MULTILINE)
    assert line is not None
    answer = subprocess.run(["bash", "-c", f"{line[1]} -sf"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert '"chat.completion"' in answer.stdout
