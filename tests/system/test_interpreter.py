"""The code interpreter when processes die, when nothing works, and when many use it. Tests share servers,
and the last one ends it."""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support import environment
from tests.support.fleet import until
from tests.support.interpreter import Json, done, execute, failure, host, sessions, stdout
from tests.support.patience import limit
from tests.support.processes import gone, running
from tests.support.server import Server, running_server

from tutti.app import sandboxhost
from tutti.app.platform import open_database
from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.meeting import sandbox_hosts
from tutti.sandboxes.environment import environment_folder
from tutti.store.records import Node


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([], interpreter=True, workers=2, interpreter_warm=1) as server:
        yield server


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A process that does not answer for two seconds is killed."""
    with running_server([], interpreter=True, interpreter_warm=0, hang_timeout_s=2) as server:
        yield server


def tree(server: Server) -> list[psutil.Process]:
    """The host, and everything below it."""
    process = host(server)
    assert process is not None
    return [process, *process.children(recursive=True)]


def sleeps(server: Server) -> bool:
    """Whether code of a session has started a `sleep`. What else there is comes and goes meanwhile."""
    found: list[str] = []
    for it in tree(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(it.name())
    return "sleep" in found


def memory_bytes(server: Server) -> int:
    found = 0
    for it in tree(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += it.memory_full_info().pss
    return found


def test_there_is_no_host_until_somebody_executes_code(server: Server) -> None:
    assert sessions(server.client) == [] and "There is no session" in failure(server.client, "1", "ses_x")
    time.sleep(0.5)
    assert host(server) is None
    assert stdout(done(server.client, "print(1)")) == "1\n"
    assert host(server) is not None


async def test_sessions_outlive_the_api_workers(server: Server) -> None:
    id = done(server.client, "x = 41")["session_id"]
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await gone(workers)
    with httpx.Client(base_url=server.url, headers=server.client.headers, timeout=limit(30)) as client:
        answer = await asyncio.to_thread(tried, client, id)
    assert answer["data"]["outputs"] == [{"type": "stdout", "data": "42\n"}]


def tried(client: httpx.Client, id: str) -> Json:
    """As the official clients do it: a connection that breaks is tried again."""
    give_up_at = time.monotonic() + limit(60)
    while True:
        try:
            return execute(client, "print(x + 1)", id)
        except httpx.TransportError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


async def test_a_host_that_dies_takes_its_sessions_along_and_another_one_comes(server: Server) -> None:
    id = done(server.client, "x = 1")["session_id"]
    before = [it.pid for it in tree(server)]
    assert len(before) > 2
    with ThreadPoolExecutor(1) as thread:
        code = "import subprocess; subprocess.run(['sleep', '100'])"
        running_one = thread.submit(failure, server.client, code, id)
        await until(lambda: sleeps(server))
        await asyncio.sleep(0.2)  # what breaks in its first 0.1 s is taken not to have been begun
        os.kill(before[0], signal.SIGKILL)
        assert "its sessions are gone" in await asyncio.to_thread(running_one.result, 60)
    await gone(before)
    assert stdout(await asyncio.to_thread(done, server.client, "print(2)")) == "2\n"
    assert "There is no session" in failure(server.client, "x", id)


def test_forty_sessions_at_once(server: Server) -> None:
    before = len(sessions(server.client))
    with ThreadPoolExecutor(40) as threads:
        opened = list(threads.map(lambda i: done(server.client, f"mine = {i}")["session_id"], range(40)))
        said = list(threads.map(lambda id: stdout(done(server.client, "print(mine)", id)), opened))
    assert said == [f"{i}\n" for i in range(40)] and len(sessions(server.client)) == before + 40
    assert memory_bytes(server) < 1_000_000_000


async def test_nothing_is_left_after_a_drain(server: Server) -> None:
    await left(server, signal.SIGTERM)


def test_a_host_that_hangs_is_replaced(strict: Server) -> None:
    id = done(strict.client, "x = 1")["session_id"]
    tree(strict)[0].suspend()
    assert "its sessions are gone" in failure(strict.client, "x", id)
    assert stdout(done(strict.client, "print(1)")) == "1\n"


async def test_nothing_is_left_when_the_controller_is_killed(strict: Server) -> None:
    await left(strict, signal.SIGKILL)


async def left(server: Server, number: signal.Signals) -> None:
    done(server.client, "import subprocess; subprocess.Popen(['sleep', '100'])")
    everything = [it.pid for it in server.tree()]
    assert sleeps(server)
    server.process.send_signal(number)
    await asyncio.to_thread(server.process.wait, 60)
    await gone(everything)


async def test_what_keeps_the_interpreter_from_working_is_said() -> None:
    """First its environment is still being made, then no sandbox works."""
    with running_server([], load_wait_s=3, interpreter_driver="runsc") as server:
        folder = environment_folder(server.data_dir)
        folder.parent.mkdir()
        with folder.with_name(f".{folder.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as if another process made it
            response = told(server, "interpreter_preparing", "environment", should_retry="true")
            assert response.headers["retry-after"] == "5"
            folder.symlink_to(await asyncio.to_thread(environment.made))
        for _ in range(2):
            told(server, "sandbox_unavailable", "runsc", should_retry="false")
        process = host(server)
        await gone([] if process is None else [process.pid])


def told(server: Server, code: str, text: str, should_retry: str) -> httpx.Response:
    """What it answers, once it has got so far: until then it says that it is being prepared."""
    give_up_at = time.monotonic() + limit(60)
    while True:
        response = server.client.post("/v1/tci/execute", json={"language": "python", "code": "1"})
        error = response.json()["error"]
        if text in error["message"] or time.monotonic() > give_up_at:
            break
        assert error["code"] == "interpreter_preparing", error
    assert (response.status_code, error["code"]) == (503, code), error
    assert text in error["message"] and response.headers["x-should-retry"] == should_retry
    return response


async def test_a_host_without_sessions_leaves(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, models=[], interpreter_warm=1)
    await asyncio.to_thread(environment.lend, tmp_path)
    others = psutil.Process().children(recursive=True)  # of other tests, for the whole run
    async with open_database(settings) as database:
        async with database.begin() as session:
            at = now()
            session.add(Node(id="n", address="", state="ready", memory_budget_bytes=0, seen_at=at))
        async with asyncio.timeout(limit(60)):
            await sandboxhost.run(settings, "n", idle_s=0.5)
        assert await sandbox_hosts.hosts(database, 0.0) == []
    left = [it for it in psutil.Process().children(recursive=True) if it not in others]
    assert not [it for it in left if running(it.pid)]
