"""Sessions of several projects where there are few: four, three of one project."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from tests.api.interpreter.conftest import client_of, wait
from tests.support.interpreter import Json, done, execute, failure, sessions, stdout
from tests.support.server import Server, running_server

SLEEP = "import time; time.sleep(100)"


@pytest.fixture(scope="module")
def few() -> Iterator[Server]:
    with running_server([], interpreter=True, interpreter_warm=0, interpreter_sessions=4) as server:
        yield server


@pytest.fixture
async def a(few: Server) -> AsyncIterator[httpx.Client]:
    async for client in _clean(few, "a"):
        yield client


@pytest.fixture
async def b(few: Server) -> AsyncIterator[httpx.Client]:
    async for client in _clean(few, "b"):
        yield client


async def _clean(few: Server, project: str) -> AsyncIterator[httpx.Client]:
    """Has no sessions before nor after."""
    with await client_of(few, project) as client:
        yield client
        for id in ids(client):
            end(client, id)


def ids(client: httpx.Client) -> list[str]:
    return [it["id"] for it in sessions(client)]


def end(client: httpx.Client, id: str) -> httpx.Response:
    return client.delete(f"/v1/tci/sessions/{id}")


@contextmanager
def busy(client: httpx.Client, count: int) -> Iterator[list[Future[Json]]]:
    """With so many sessions that sleep; each answer says in the end that its session was ended."""
    before = len(ids(client))
    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(execute, client, SLEEP) for _ in range(count)]
        wait(lambda: len(ids(client)) == before + count)
        yield futures
        for id in ids(client):
            end(client, id)


def refused(client: httpx.Client) -> str:
    response = client.post("/v1/tci/execute", json={"language": "python", "code": "1"})
    assert response.status_code == 429 and response.json()["error"]["code"] == "interpreter_full"
    assert int(response.headers["retry-after"]) >= 1 and response.headers["x-should-retry"] == "true"
    return response.json()["error"]["message"]


def test_one_shot_calls_never_run_out_and_end_no_session_of_others(a: httpx.Client, b: httpx.Client) -> None:
    kept = done(b, "x = 41")["session_id"]
    opened = [done(a, "1")["session_id"] for _ in range(6)]
    assert ids(a) == opened[-3:] and stdout(done(b, "print(x + 1)", kept)) == "42\n"
    said = failure(a, "1", opened[0])
    assert "to make room" in said and "interpreter_project_sessions" in said


def test_the_session_that_was_used_longest_ago_gives_way(a: httpx.Client) -> None:
    first, second, third = (done(a, "1")["session_id"] for _ in range(3))
    done(a, "2", first)
    assert ids(a) == [first, second, third]
    last = done(a, "1")["session_id"]
    assert ids(a) == [first, third, last]


def test_a_project_with_three_busy_ones_leaves_the_fourth_to_others(a: httpx.Client, b: httpx.Client) -> None:
    with busy(a, 3) as sleeping:
        said = refused(a)
        assert "of your project" in said and "3 sessions" in said and "interpreter_project_sessions" in said
        assert stdout(done(b, "print(1)")) == "1\n" and stdout(done(b, "print(2)")) == "2\n"
        with occupied(b):
            assert (
                "of the code interpreter" in (said := refused(b))
                and "together 4 (interpreter_sessions)" in said
            )
    assert all("was ended by a request" in it.result()["errors"][0] for it in sleeping)


@contextmanager
def occupied(client: httpx.Client) -> Iterator[None]:
    """Its only session sleeps."""
    (session,) = sessions(client)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(execute, client, SLEEP, session["id"])
        wait(lambda: sessions(client)[0]["execute_count"] == session["execute_count"] + 1)
        yield
        end(client, session["id"])


def test_a_session_is_ended_by_whoever_has_it_and_by_nobody_else(a: httpx.Client, b: httpx.Client) -> None:
    id = done(a, "1")["session_id"]
    unknown = "ses_" + "0" * 32
    others, nobodys = end(b, id), end(b, unknown)
    assert (others.status_code, nobodys.status_code) == (404, 404)
    assert others.json()["error"]["message"] == nobodys.json()["error"]["message"].replace(unknown, id)
    assert ids(a) == [id]
    assert end(a, id).json() == {"id": id, "deleted": True} and ids(a) == []
    again = end(a, id)
    assert again.status_code == 404 and "was ended by a request" in again.json()["error"]["message"]
    assert "was ended by a request" in failure(a, "1", id)
