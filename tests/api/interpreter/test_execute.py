"""The code interpreter through the API, on a whole server."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import psutil
import pytest
from tests.api.interpreter.conftest import client_of, leaving, wait
from tests.support.interpreter import done, execute, failure, sessions, stdout
from tests.support.server import Server

PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
TABLE = "import pandas; pandas.DataFrame({'a': [1, 2]})"
FETCH = """
import urllib.request
try:
    urllib.request.urlopen("http://169.254.169.254/latest/meta-data", timeout=60)
except OSError as error:
    print(error)
"""
MIXED = """
import sys
from IPython.display import display, HTML
print('one')
print('two', file=sys.stderr)
display(HTML('<b>three</b>'))
1 / 0
"""


def test_a_session_keeps_its_state(server: Server) -> None:
    first = done(server.client, "x = 41")
    assert first["outputs"] == [] and first["session_id"].startswith("ses_")
    again = done(server.client, "print(x + 1)", first["session_id"])
    assert again["session_id"] == first["session_id"] and stdout(again) == "42\n"
    assert "NameError" in done(server.client, "x")["outputs"][-1]["data"]


def test_sessions_are_listed_with_what_happened_in_them(server: Server) -> None:
    began = datetime.now().astimezone() - timedelta(seconds=1)
    id = done(server.client, "1")["session_id"]
    done(server.client, "2", id)
    listed = next(it for it in sessions(server.client) if it["id"] == id)
    assert listed["execute_count"] == 2
    started, last, expires = (
        datetime.fromisoformat(listed[name]) for name in ("started_at", "last_execute_at", "expires_at")
    )
    assert began < started < last < began + timedelta(seconds=60)
    assert expires - started == timedelta(hours=1)


def test_outputs_come_in_order_and_an_error_ends_them(server: Server, opened: str) -> None:
    outputs = done(server.client, MIXED, opened)["outputs"]
    assert [it["type"] for it in outputs] == ["stdout", "stderr", "display_data", "error"]
    assert [it["data"] for it in outputs[:2]] == ["one\n", "two\n"]
    assert outputs[2]["data"]["text/html"] == "<b>three</b>"
    assert "ZeroDivisionError" in outputs[3]["data"] and "\x1b" not in outputs[3]["data"]


def test_plots_and_tables_come_as_they_are(server: Server, opened: str) -> None:
    plot = done(server.client, PLOT, opened)
    image = base64.b64decode(plot["outputs"][0]["data"]["image/png"])
    assert plot["outputs"][0]["type"] == "display_data" and image.startswith(b"\x89PNG\r\n")
    table = done(server.client, TABLE, opened)["outputs"][-1]
    assert table["type"] == "execute_result" and "<table" in table["data"]["text/html"]


def test_files_are_there_before_the_code_runs(server: Server, opened: str) -> None:
    text = {"name": "data/a.csv", "encoding": "string", "content": "a,é\n"}
    data = {"name": "b.bin", "encoding": "base64", "content": base64.b64encode(bytes(range(256))).decode()}
    code = "print(open('data/a.csv').read(), open('b.bin', 'rb').read() == bytes(range(256)))"
    assert stdout(done(server.client, code, opened, files=[text, data])) == "a,é\n True\n"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a//b", ".", "a\0b", "é" * 128])
def test_a_name_that_is_not_safe_is_a_400(server: Server, name: str) -> None:
    file = {"name": name, "encoding": "string", "content": ""}
    refused(server, "files.0.name", files=[file])


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("files.0.content", {"files": [{"name": "a", "encoding": "base64", "content": "a"}]}),
        ("files.0.encoding", {"files": [{"name": "a", "encoding": "rot13", "content": ""}]}),
        ("files.0.content", {"files": [{"name": "a", "encoding": "string"}]}),
        ("files", {"files": "a"}),
        ("language", {"language": "cobol"}),
        ("code", {"code": None}),
        ("session_id", {"session_id": 1}),
    ],
)
def test_a_body_that_is_wrong_is_a_400(server: Server, param: str, fields: dict[str, object]) -> None:
    refused(server, param, **fields)


def refused(server: Server, param: str, **fields: object) -> None:
    body = {"language": "python", "code": "1", **fields}
    response = server.client.post("/v1/tci/execute", json=body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_null_is_as_good_as_nothing(server: Server) -> None:
    assert stdout(done(server.client, "print(1)", session_id=None, files=None)) == "1\n"


def test_executions_of_one_session_take_turns(server: Server, opened: str) -> None:
    id = done(server.client, "import time; log = []", opened)["session_id"]
    with ThreadPoolExecutor(4) as threads:
        codes = [f"log.append({i}); time.sleep(0.1); log.append({i})" for i in range(4)]
        assert all(
            it["errors"] is None for it in threads.map(lambda it: execute(server.client, it, id), codes)
        )
    assert (
        stdout(done(server.client, "print(all(log[i] == log[i + 1] for i in range(0, 8, 2)))", id))
        == "True\n"
    )


def test_a_client_that_leaves_interrupts_its_code(server: Server, opened: str) -> None:
    id = done(server.client, "x = 0; import subprocess", opened)["session_id"]
    code = "try:\n  subprocess.run(['sleep', '100'])\nfinally:\n  x = 1"
    with leaving(server, code=code, session_id=id):
        wait(lambda: any(_sleeps(it) for it in server.tree()))
    began = time.monotonic()
    assert stdout(done(server.client, "print(x)", id)) == "1\n"
    assert time.monotonic() - began < 50


def _sleeps(process: psutil.Process) -> bool:
    try:
        return process.cmdline() == ["sleep", "100"]
    except psutil.Error:
        return False


def test_a_client_that_leaves_a_new_session_ends_it(server: Server) -> None:
    def there() -> set[str]:
        return {it["id"] for it in sessions(server.client)}

    before = there()
    with leaving(server, code="import time; time.sleep(100)"):
        wait(lambda: there() != before)
    wait(lambda: there() == before)


def test_a_dead_session_says_why_for_as_long_as_it_is_asked(server: Server) -> None:
    id = done(server.client, "1")["session_id"]
    execute(server.client, "import os; os._exit(3)", id)
    for _ in range(2):
        said = failure(server.client, "1", id)
        assert id in said and "3" in said
    assert id not in {it["id"] for it in sessions(server.client)}


def test_the_double_slash_of_the_1_5_client(server: Server, opened: str) -> None:
    body = {"language": "python", "code": "print(1)", "session_id": opened}
    response = server.client.post("/v1//tci/execute", json=body)
    assert response.status_code == 200 and response.json()["data"]["outputs"][0]["data"] == "1\n"


def test_what_takes_too_long_is_interrupted_and_the_session_goes_on(narrow: Server) -> None:
    id = done(narrow.client, "x = 1")["session_id"]
    began = time.monotonic()
    output = done(narrow.client, "while True: pass", id)["outputs"][-1]
    assert output["type"] == "error" and "longer than 3 s" in output["data"]
    assert time.monotonic() - began < 20
    assert stdout(done(narrow.client, "print(x)", id)) == "1\n"


def test_a_session_expires_and_says_so(brief: Server) -> None:
    began = time.monotonic()
    id = done(brief.client, "x = 1")["session_id"]
    wait(lambda: sessions(brief.client) == [])
    assert time.monotonic() - began >= 1.9
    assert "has expired" in failure(brief.client, "x", id)
    assert "NameError" in done(brief.client, "x")["outputs"][-1]["data"]


def test_code_that_runs_when_its_session_expires_is_ended(brief: Server) -> None:
    wait(lambda: sessions(brief.client) == [])
    began = time.monotonic()
    assert "has expired" in failure(brief.client, "import time; time.sleep(100)")
    assert time.monotonic() - began < 50


def test_executions_are_counted(server: Server, opened: str) -> None:
    done(server.client, "1", opened)

    def is_counted() -> bool:
        answer = server.client.get("/v1/billing/usage", params={"group_by": "model,operation"})
        assert answer.status_code == 200, answer.text
        return "code-interpreter" in answer.text and "tci/execute" in answer.text

    wait(is_counted)


async def test_the_network_is_for_the_projects_that_are_listed(server: Server, opened: str) -> None:
    """The proxy answers the one; the other has no way to anywhere. From then on the server wants keys."""
    assert "Only ports 80 and 443 of the public internet" in stdout(done(server.client, FETCH, opened))
    with await client_of(server, "unlisted") as unlisted:
        assert "unreachable" in stdout(done(unlisted, FETCH))


async def test_another_project_never_learns_that_a_session_is_there(server: Server) -> None:
    """Last in this file, with the one above: the server wants keys."""
    with await client_of(server, "ours") as ours, await client_of(server, "theirs") as theirs:
        id = done(ours, "secret = 1")["session_id"]
        unknown = "ses_" + "0" * 32
        assert failure(theirs, "secret", id) == failure(theirs, "1", unknown).replace(unknown, id)
        execute(ours, "import os; os._exit(1)", id)
        assert failure(theirs, "secret", id) == failure(theirs, "1", unknown).replace(unknown, id)
        mine = done(ours, "1")["session_id"]
        assert [it["id"] for it in sessions(ours)] == [mine] and sessions(theirs) == []
