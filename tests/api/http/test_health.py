"""/livez, /readyz, /metrics, and what is logged of a request."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.meeting.readiness import why_not_ready
from tutti.process import logs
from tutti.process.metrics import IN_FLIGHT
from tutti.store.db import Database
from tutti.store.records import Node, Replica


def node(seen_s_ago: float = -60.0, state: str = "ready") -> Node:
    """By default alive for a minute, however long the test takes."""
    return Node(id="n", address="a", state=state, memory_budget_bytes=1, seen_at=now() - seen_s_ago)


def replica(state: str, detail: str = "", node_id: str = "n", restarts: int = 0) -> Replica:
    return Replica(
        id=f"r-{node_id}-{state}", node_id=node_id, name="m", entry={}, state=state, detail=detail,
        restarts=restarts, changed_at=now(), used_at=now(),
    )  # fmt: skip


async def add(database: Database, *rows: Node | Replica) -> None:
    async with database.begin() as session:
        session.add_all(rows)


async def test_a_server_is_ready_once_a_request_would_be_served(settings, database):
    async def why() -> str | None:
        return await why_not_ready(settings, database)

    assert await why() == "No supervisor is alive."
    await add(database, node())
    assert await why() == "No model is loaded yet."
    await add(database, replica("pulling", "40 %"), replica("ready", node_id="dead"))
    assert await why() == "m is pulling 40 %"
    await add(database, replica("ready"))
    assert await why() is None


async def test_a_server_that_loads_nothing_at_start_is_ready_at_once(settings, database):
    await add(database, node())
    lazy = Settings(data_dir=settings.data_dir, models=[])
    assert await why_not_ready(lazy, database) is None


@pytest.mark.parametrize(
    ("state", "seen_s_ago", "reason"),
    [("ready", 60.0, "No supervisor is alive."), ("draining", -60.0, "This server is draining.")],
)
async def test_a_dead_or_draining_node_serves_nothing(settings, database, state, seen_s_ago, reason):
    await add(database, node(seen_s_ago, state), replica("ready"))
    assert await why_not_ready(settings, database) == reason


async def test_a_database_that_is_gone_makes_it_unready_but_not_dead(http, settings, database):
    await add(database, node(), replica("ready"))
    anonymous = {"authorization": ""}
    async with http.get("/readyz", headers=anonymous) as response:
        assert response.status == 200
    async with database.begin() as session:
        await session.execute(text("DROP TABLE nodes"))
    async with http.get("/readyz", headers=anonymous) as response:
        assert response.status == 503
        assert "database" in (await response.json())["reason"]
        assert response.headers["retry-after"] == "1"
    async with http.get("/livez", headers=anonymous) as response:
        assert response.status == 200


async def test_metrics_count_requests_and_restarts(http, database):
    before = IN_FLIGHT._value.get()  # what servers of other tests have left behind
    await add(database, replica("ready", restarts=3))
    async with http.post("/v1/things", json={"model": "m"}) as response:
        assert response.status == 200
    async with http.get("/metrics", headers={"authorization": ""}) as response:
        assert response.content_type == "text/plain"
        lines = (await response.text()).splitlines()
    assert 'tutti_child_restarts_total{model_name="m"} 3.0' in lines
    assert f"tutti_requests_in_flight {before + 1}" in lines
    counted = [line for line in lines if line.startswith("tutti_http_requests_total{")]
    assert any('route="/things",status="200"' in line for line in counted)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What `configure` makes of the log."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("info")
    written = io.StringIO()
    root.handlers[0].setStream(written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_traceback_on_a_terminal_does_not_show_what_variables_hold(logged):
    with contextlib.redirect_stderr(Terminal()) as terminal:
        logs.configure("info")
        prompt = "a secret prompt"
        try:
            raise RuntimeError(str(len(prompt)))
        except RuntimeError:
            logging.getLogger("x").exception("it failed")
    assert "RuntimeError: 15" in terminal.getvalue()
    assert "it failed" in terminal.getvalue()
    assert "'a secret prompt'" not in terminal.getvalue()


async def test_a_request_leaves_one_line_without_its_text(http, logged):
    async with http.post("/v1/things", json={"model": "m", "anything": "a secret prompt"}) as response:
        request_id = response.headers["x-request-id"]
    async with http.get("/livez") as response:
        assert response.status == 200
    line, *others = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert others == []
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/things", 200)
    assert line["request_id"] == request_id
    assert line["key_id"] == "key-default"
    assert line["ms"] > 0
    assert "secret" not in logged.getvalue()


async def test_an_unexpected_error_is_logged_with_its_traceback_and_request_id(http, logged):
    async with http.get("/v1/broken") as response:
        request_id = response.headers["x-request-id"]
    line = json.loads(logged.getvalue().splitlines()[0])
    assert line["request_id"] == request_id
    assert "RuntimeError: secret detail" in line["exception"]


def test_what_libraries_log_comes_out_alike(logged):
    logging.getLogger("some.library").warning("it is %s", "odd", extra={"cause": "rain"})
    line = json.loads(logged.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("it is odd", "WARNING", "some.library")
    assert line["cause"] == "rain"
