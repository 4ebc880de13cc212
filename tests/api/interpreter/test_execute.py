"""The code interpreter through the API, on a whole server."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import httpx
import pytest
from tests.api.interpreter.conftest import client_of
from tests.support.interpreter import done, execute, failure, sessions, stdout
from tests.support.server import Server

PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
TABLE = "import pandas; pandas.DataFrame({'a': [1, 2]})"
FETCH = """
import urllib.request
try:
    urllib.request.urlopen("http://169.254.169.254/latest/meta-data", timeout=5)
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


def test_what_takes_too_long_is_interrupted_and_the_session_goes_on(server: Server, opened: str) -> None:
    id = done(server.client, "x = 1", opened)["session_id"]
    began = time.monotonic()
    output = done(server.client, "while True: pass", id)["outputs"][-1]
    assert output["type"] == "error" and "longer than 3 s" in output["data"]
    assert time.monotonic() - began < 6
    assert stdout(done(server.client, "print(x)", id)) == "1\n"


def test_a_client_that_leaves_interrupts_its_code(server: Server, opened: str) -> None:
    id = done(server.client, "x = 0; import time", opened)["session_id"]
    code = "try:\n  time.sleep(2.5)\nfinally:\n  x = 1"
    body = {"language": "python", "code": code, "session_id": id}
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        server.client.post("/v1/tci/execute", json=body, timeout=0.3)
    assert stdout(done(server.client, "print(x)", id)) == "1\n"
    assert time.monotonic() - began < 2


def test_a_client_that_leaves_a_new_session_ends_it(server: Server) -> None:
    before = {it["id"] for it in sessions(server.client)}
    body = {"language": "python", "code": "import time; time.sleep(2.5)"}
    with pytest.raises(httpx.ReadTimeout):
        server.client.post("/v1/tci/execute", json=body, timeout=1)
    give_up_at = time.monotonic() + 1
    while {it["id"] for it in sessions(server.client)} != before:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


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


def test_a_session_expires_and_says_so(brief: Server) -> None:
    id = done(brief.client, "x = 1")["session_id"]
    response = brief.client.post("/v1/tci/execute", json={"language": "python", "code": "1"})
    assert response.status_code == 429 and response.json()["error"]["code"] == "interpreter_full"
    assert 1 <= int(response.headers["retry-after"]) <= 2
    assert response.headers["x-should-retry"] == "true"
    expires = datetime.fromisoformat(sessions(brief.client)[0]["expires_at"]).timestamp()
    time.sleep(max(0.0, expires - time.time()))
    assert sessions(brief.client) == []
    assert "has expired" in failure(brief.client, "x", id)
    assert "NameError" in done(brief.client, "x")["outputs"][-1]["data"]


def test_code_that_runs_when_its_session_expires_is_ended(brief: Server) -> None:
    began = time.monotonic()
    wait_for_room(brief.client)
    assert "has expired" in failure(brief.client, "import time; time.sleep(30)")
    assert time.monotonic() - began < 8


def wait_for_room(client: httpx.Client) -> None:
    give_up_at = time.monotonic() + 10
    while sessions(client):
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


async def test_the_network_is_for_the_projects_that_are_listed(brief: Server) -> None:
    """The proxy answers the one; the other has no way to anywhere. From then on `brief` wants keys."""
    wait_for_room(brief.client)
    assert "Only ports 80 and 443 of the public internet" in stdout(done(brief.client, FETCH))
    wait_for_room(brief.client)
    with await client_of(brief, "theirs") as theirs:
        assert "unreachable" in stdout(done(theirs, FETCH))


def test_executions_are_counted(server: Server, opened: str) -> None:
    done(server.client, "1", opened)
    time.sleep(1)  # until the rows are written
    answer = server.client.get("/v1/billing/usage", params={"group_by": "model,operation"})
    assert answer.status_code == 200, answer.text
    assert "code-interpreter" in answer.text and "tci/execute" in answer.text


async def test_another_project_never_learns_that_a_session_is_there(server: Server) -> None:
    """Last in this file: from then on the server wants keys."""
    with await client_of(server, "ours") as ours, await client_of(server, "theirs") as theirs:
        id = done(ours, "secret = 1")["session_id"]
        unknown = "ses_" + "0" * 32
        assert failure(theirs, "secret", id) == failure(theirs, "1", unknown).replace(unknown, id)
        execute(ours, "import os; os._exit(1)", id)
        assert failure(theirs, "secret", id) == failure(theirs, "1", unknown).replace(unknown, id)
        mine = done(ours, "1")["session_id"]
        assert [it["id"] for it in sessions(ours)] == [mine] and sessions(theirs) == []
