"""What a person sees who starts the server for the first time."""

import re
import subprocess

from tests.support.server import Server


def test_the_banner_names_the_url_and_the_key_and_three_lines_to_try(echo_server: Server) -> None:
    banner = echo_server.output
    assert f"{echo_server.url}/v1" in banner
    assert "API key" in banner
    assert [name for name in ("curl ", "from together", "from openai") if name not in banner] == []


def test_the_line_for_curl_works_as_it_is_printed(echo_server: Server) -> None:
    line = re.search(r"^ *(curl .*)$", echo_server.output, re.MULTILINE)
    assert line is not None
    answer = subprocess.run(["bash", "-c", f"{line[1]} -sf"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert '"chat.completion"' in answer.stdout
