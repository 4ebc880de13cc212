"""`tutti serve` under kill -9, hangs and signals, with requests running."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.support.fleet import until
from tests.support.patience import limit
from tests.support.processes import gone, running
from tests.support.server import ECHO, Server, argv_of, running_server, started

from tutti.base.model import Model

LARGE = Model(name="large", type="chat", engine="echo", options={"memory_bytes": 80_000_000})
SLOW = Model(name="slow", type="chat", engine="echo", options={"tokens_per_s": 20})
ONE_AT_A_TIME = Model(name="one", type="chat", engine="echo", options={"slots": 1})


def body(text: str = "hello", model: str = "echo", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def chat(server: Server, text: str = "hello", model: str = "echo") -> httpx.Response:
    return server.client.post("/v1/chat/completions", json=body(text, model))


async def stream(client: httpx.AsyncClient, text: str, model: str = "echo") -> list[str]:
    """The payloads of the events, whatever the status."""
    sent = body(text, model, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=sent) as response:
        if response.status_code != 200:
            return [str(response.status_code)]
        return [
            line.removeprefix("data: ") async for line in response.aiter_lines() if line.startswith("data: ")
        ]


@asynccontextmanager
async def many(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer any"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=limit(30), limits=limits
    ) as client:
        yield client


async def count_outcomes(
    client: httpx.AsyncClient, counted: Counter[str], enough: asyncio.Event, at_once: int = 8
) -> None:
    """Statuses of requests, and `broken` where the connection broke."""

    async def one() -> None:
        while not enough.is_set():
            try:
                response = await client.post("/v1/chat/completions", json=body("[[tokens 5]] x"))
                counted[str(response.status_code)] += 1
            except httpx.TransportError:
                counted["broken"] += 1
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def busy(server: Server, count: int) -> None:
    """Returns when the engines work on so many requests, as they say themselves."""
    async with httpx.AsyncClient(timeout=limit(60)) as client:

        async def working() -> int:
            told = [argv_of(psutil.Process(pid)) for pid in server.engines()]
            ports = [argv[argv.index("--port") + 1] for argv in told]
            answers = [await client.get(f"http://127.0.0.1:{port}/progress") for port in ports]
            return sum(it.json()["busy"] for it in answers)

        async def are() -> bool:
            with contextlib.suppress(httpx.ConnectError):  # an engine that is still starting
                return await working() == count
            return False

        await until(are)


def refused(data_dir: Path, **settings: Any) -> str:
    """What a server says that cannot start."""
    data_dir.mkdir(exist_ok=True)
    with started(data_dir, **settings) as process:
        assert process.wait(limit(60)) == 1
    return (data_dir / "output").read_text()


def whole(events: list[str], words: int) -> bool:
    text = [json.loads(it)["choices"][0]["delta"].get("content", "") for it in events[:-1] if "choices" in it]
    return events[-1] == "[DONE]" and len("".join(text).split()) == words


async def test_a_killed_engine_is_a_clean_error_and_then_service_again() -> None:
    with running_server([SLOW]) as server:
        async with many(server) as client:
            streams = [asyncio.create_task(stream(client, "[[tokens 200]] x", "slow")) for _ in range(4)]
            whole_ones = [
                asyncio.create_task(
                    client.post("/v1/chat/completions", json=body("[[tokens 200]] x", "slow"))
                )
                for _ in range(4)
            ]
            await busy(server, 8)
            await asyncio.sleep(0.2)  # what breaks in its first 0.1 s is taken not to have been begun
            for pid in server.engines():
                os.kill(pid, signal.SIGKILL)
            for events in await asyncio.gather(*streams):
                assert "error" in json.loads(events[-2])
                assert events[-1] == "[DONE]"
            for response in await asyncio.gather(*whole_ones):
                assert response.status_code == 503
                assert response.headers["retry-after"] == "1"
                assert response.json()["error"]["type"] == "overloaded_error"
        assert chat(server, model="slow").status_code == 200
        restarts = 'tutti_child_restarts_total{model_name="slow"} 1.0'
        await until(lambda: restarts in server.client.get("/metrics").text)


async def test_a_killed_api_worker_is_replaced_while_the_other_serves() -> None:
    with running_server(workers=2) as server:
        counted, enough = Counter[str](), asyncio.Event()
        await until(lambda: len(server.workers()) == 2)
        before = server.workers()
        async with many(server) as client:
            load = asyncio.create_task(count_outcomes(client, counted, enough))
            await until(lambda: counted["200"] > 50)
            os.kill(before[0], signal.SIGKILL)
            at_kill = counted["200"]
            await until(lambda: len(server.workers()) == 2 and set(server.workers()) != set(before))
            # The new one is a process before it counts itself. On a new connection: an old one may be to the
            # worker that was killed.
            await until(
                lambda: "tutti_api_worker_starts_total 3.0" in httpx.get(f"{server.url}/metrics").text
            )
            await until(lambda: counted["200"] > at_kill + 50)
            enough.set()
            await load
        assert set(counted) <= {"200", "broken"}
        assert counted["broken"] <= 16


async def test_nothing_outlives_a_killed_controller() -> None:
    with running_server([ECHO, SLOW], workers=2) as server:
        async with many(server) as client:
            running_one = asyncio.create_task(stream(client, "[[tokens 500]] x", "slow"))
            await busy(server, 1)
            pids = [it.pid for it in server.tree()]
            assert len(pids) >= 8  # two API workers, two engines, and the shepherd of each
            server.process.kill()
            await gone(pids)
            [ended] = await asyncio.gather(running_one, return_exceptions=True)
            assert isinstance(ended, httpx.TransportError) or "error" in json.loads(ended[-2])


async def test_it_starts_again_after_the_controller_was_killed() -> None:
    with running_server() as server:
        server.process.kill()
        server.process.wait()
        port = int(server.url.rpartition(":")[2])
        with started(server.data_dir, port=port) as process:
            again = Server(server.url, server.data_dir, process, server.client)
            await asyncio.to_thread(_served, again)


def _served(server: Server) -> None:
    end = time.monotonic() + limit(60)
    while time.monotonic() < end:
        try:
            if chat(server).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(server.output)


def test_a_stopped_engine_is_replaced() -> None:
    with running_server(hang_timeout_s=1) as server:
        [pid] = server.engines()
        os.kill(pid, signal.SIGSTOP)
        ended = chat(server)
        assert ended.status_code == 503
        assert "did nothing for 1 s (--hang-timeout)" in ended.json()["error"]["message"]
        assert chat(server).status_code == 200
        assert not running(pid)


async def test_a_drain_finishes_what_runs_and_leaves_nothing() -> None:
    with running_server([SLOW], workers=2) as server:
        async with many(server) as client:
            running_ones = [asyncio.create_task(stream(client, "[[tokens 40]] x", "slow")) for _ in range(6)]
            await busy(server, 6)
            pids = [it.pid for it in server.tree()]
            assert len(pids) >= 6
            server.process.terminate()
            await until(lambda: says_that_it_drains(client))
            assert not any(it.done() for it in running_ones)
            for events in await asyncio.gather(*running_ones):
                assert whole(events, 40)
        assert server.process.wait(limit(60)) == 0
        assert not any(map(running, pids))


async def says_that_it_drains(client: httpx.AsyncClient) -> bool:
    """Also to whoever asks for anything else: the requests that run are still running."""
    try:
        ready = await client.get("/readyz")
        asked = await client.post("/v1/chat/completions", json=body(model="slow"))
    except httpx.TransportError:  # a kept connection has just been closed
        return False
    if 200 in (ready.status_code, asked.status_code):  # it is about to
        return False
    assert (ready.status_code, ready.json()["reason"]) == (503, "This server is draining.")
    assert (asked.status_code, asked.headers["retry-after"]) == (503, "1")
    return (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_does_not_wait(number: signal.Signals) -> None:
    with running_server([SLOW]) as server:
        async with many(server) as client:
            running_one = asyncio.create_task(stream(client, "[[tokens 2000]] x", "slow"))
            await busy(server, 1)
            pids = [it.pid for it in server.tree()]
            server.process.send_signal(number)
            await until(lambda: "draining" in server.output)  # two signals at once are one
            began = time.monotonic()
            assert await asyncio.to_thread(server.stop, number) == 1
            assert time.monotonic() - began < 20  # of the 30 s of a drain
            with pytest.raises(httpx.TransportError):
                await running_one
        assert not any(map(running, pids))


async def test_a_drain_is_bounded() -> None:
    with running_server([SLOW], drain_timeout_s=1) as server:
        async with many(server) as client:
            running_one = asyncio.create_task(stream(client, "[[tokens 2000]] x", "slow"))
            await busy(server, 1)
            began = time.monotonic()
            assert await asyncio.to_thread(server.stop) == 0
            assert time.monotonic() - began < 20  # of the 100 s of the stream
            await asyncio.wait([running_one])


async def test_a_full_queue_is_429_with_the_wait() -> None:
    with running_server([ONE_AT_A_TIME], max_queue=2) as server:
        async with many(server) as client:
            first = asyncio.create_task(stream(client, "[[sleep 100]] x", "one"))
            await busy(server, 1)
            sent = [
                asyncio.create_task(client.post("/v1/chat/completions", json=body(model="one")))
                for _ in range(5)
            ]
            await until(lambda: sum(it.done() for it in sent) == 3)
            first.cancel()
            answers = await asyncio.gather(*sent)
        assert Counter(it.status_code for it in answers) == {200: 2, 429: 3}
        for answer in (it for it in answers if it.status_code == 429):
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-should-retry"] == "true"
            assert answer.json()["error"]["type"] == "rate_limit_error"


def test_a_model_leaves_for_another_within_the_budget() -> None:
    with running_server([ECHO], catalog=[LARGE], memory_budget_bytes=130_000_000) as server:
        for turn, model in enumerate(["echo", "large", "echo", "large"]):
            assert (
                chat(server, f"turn {turn}", model).json()["choices"][0]["message"]["content"]
                == f"turn {turn}"
            )
            assert len(server.engines()) == 1


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with running_server() as server:
        port = int(server.url.rpartition(":")[2])
        said = refused(tmp_path, port=port)
        assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in said
        assert chat(server).status_code == 200


def test_a_port_that_another_program_has_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot be listened on" in refused(tmp_path, port=taken.getsockname()[1])


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        end = time.monotonic() + limit(60)
        while not (tmp_path / "url").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        assert "another server uses" in refused(tmp_path)
        assert first.poll() is None


def test_what_an_engine_does_not_understand_is_told(tmp_path: Path) -> None:
    wrong = Model(name="wrong", type="chat", engine="echo", options={"slotz": 1})
    assert "entry 'wrong': options of echo" in refused(tmp_path, models=[wrong])


def test_it_does_not_listen_to_others_without_a_key(tmp_path: Path) -> None:
    assert "tutti keys create" in refused(tmp_path, host="0.0.0.0")
