"""Batches under kill -9 of every process, in every phase, and while the database or the object store is away.

The promise: every request has exactly one result, and one that was recorded is not run again.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select
from tests.support.patience import limit
from tests.support.postgres import OwnServer, empty_database, postgres_url
from tests.support.s3 import S3Server, s3_server
from tests.support.server import Server, argv_of, killed_and_restarted, running_server

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.store.blobs import Blobs
from tutti.store.db import Database, database_url
from tutti.store.records import Batch, JobChunk, JobRow

SLOW = Model(name="slow", type="chat", engine="echo", options={"slots": 8, "first_token_delay_s": 0.15})
ENDED = ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
CHATS = "/v1/chat/completions"
LEASE_S = 2.0

Recorded = set[str]
"""Ids of results."""


def requests(count: int) -> Iterator[str]:
    body = {"model": SLOW.name, "messages": [{"role": "user", "content": "hello"}]}
    for number in range(count):
        yield json.dumps({"custom_id": f"r{number}", "body": body})


def create(server: Server, lines: Iterable[str], **said: Any) -> str:
    fields = {"file_name": "requests.jsonl", "purpose": "batch-api"}
    files = {"file": ("requests.jsonl", "\n".join(lines).encode())}
    file = server.client.post("/v1/files/upload", data=fields, files=files).json()
    body = {"input_file_id": file["id"], "endpoint": CHATS, **said}
    answer = server.client.post("/v1/batches", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def batch_of(server: Server, id: str) -> dict[str, Any]:
    """In OpenAI's shape; asked again while no API worker is there."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            answer = server.client.get(f"/openai/v1/batches/{id}")
            if answer.status_code == 200:
                return answer.json()
        time.sleep(0.1)
    raise AssertionError(server.output)


def until(
    server: Server, id: str, true: Callable[[dict[str, Any]], bool], within_s: float = 60
) -> dict[str, Any]:
    give_up_at = time.monotonic() + limit(within_s)
    while not true(batch := batch_of(server, id)):
        assert time.monotonic() < give_up_at, (batch, server.output[-5000:])
        time.sleep(0.05)
    return batch


def ended(batch: Mapping[str, Any]) -> bool:
    return batch["status"].upper() in ENDED


def done(count: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda batch: batch["request_counts"]["completed"] >= count


def results(server: Server, batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the output and of the error file, by custom_id: no request has two."""
    found: list[dict[str, Any]] = []
    for name in ("output_file_id", "error_file_id"):
        text = server.client.get(f"/v1/files/{batch[name]}/content").text if name in batch else ""
        lines = [json.loads(line) for line in text.splitlines()]
        found.append({line["custom_id"]: line for line in lines})
        assert len(found[-1]) == len(lines)
    assert not found[0].keys() & found[1].keys()
    return found[0], found[1]


def settings_of(server: Server, **settings: Any) -> Settings:
    return Settings(data_dir=server.data_dir, **settings)


async def recorded(settings: Settings, id: str) -> Recorded:
    """What a job has written down so far."""
    database, blobs = await Database.open(database_url(settings)), Blobs.open(settings)
    async with database.read() as session:
        parts = (await session.scalars(select(JobChunk.parts).where(JobChunk.job_id == id))).all()
    await database.close()
    data = [await blobs.get(part["key"]) for chunk in parts for part in chunk.values()]
    return {json.loads(line)["id"] for lines in data for line in lines.splitlines()}


async def job_is(settings: Settings, id: str, true: Callable[[JobRow, Batch], bool]) -> None:
    database = await Database.open(database_url(settings))
    async with asyncio.timeout(limit(60)):
        while True:
            async with database.read() as session:
                if true(await session.get_one(JobRow, id), await session.get_one(Batch, id)):
                    break
            await asyncio.sleep(0.01)
    await database.close()


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_each_process_is_killed_while_requests_run() -> None:
    with running_server([SLOW], job_lease_s=LEASE_S, workers=2) as server:
        settings = settings_of(server)
        id = create(server, requests(200))
        until(server, id, done(10))
        kill(server.engines())
        until(server, id, done(40))
        kill(server.workers()[:1])
        until(server, id, done(60))
        before = await recorded(settings, id)
        kill(server.job_workers())
        until(server, id, done(len(before) + 10))
        with killed_and_restarted(server, [SLOW], job_lease_s=LEASE_S) as again:
            after = await recorded(settings, id)
            assert before < after
            batch = until(again, id, ended)
            output, errors = results(again, batch)
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 200, "completed": 200, "failed": 0}
        assert len(output) == 200
        assert not errors
        assert after <= {line["id"] for line in output.values()}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
async def test_workers_are_killed_in_every_phase(kind: str) -> None:
    """While one batch's file is checked, while another's requests run, and while its files are made; a third
    expires meanwhile."""
    place = {} if kind == "sqlite" else {"database_url": postgres_url(await empty_database())}
    chosen = {"job_lease_s": 1.0, "job_workers": 2, **place}
    wrong = itertools.chain(requests(8_000), ['{"custom_id": "r7", "body": {}}'])
    with running_server([SLOW], **chosen) as server:
        settings = settings_of(server, **place)
        cancelled = create(server, requests(2000))
        until(server, cancelled, done(10))
        # Time enough for a worker to take it after the kill: nothing is said of requests never looked at.
        faulty, expired = create(server, wrong), create(server, requests(2000), completion_window="8s")
        await job_is(settings, faulty, lambda job, _: job.status != "queued")
        kill(server.job_workers())
        first = await recorded(settings, cancelled)
        until(server, cancelled, done(len(first) + 10))
        server.client.post(f"/v1/batches/{cancelled}/cancel")
        await job_is(settings, cancelled, lambda _, batch: batch.finalizing_at is not None)
        kill(server.job_workers())
        second = await recorded(settings, cancelled)
        await job_is(
            settings, cancelled, lambda job, batch: job.attempt >= 3 or batch.finished_at is not None
        )
        with killed_and_restarted(server, [SLOW], **chosen) as again:
            fault = until(again, faulty, ended)
            assert fault["status"] == "failed" and "output_file_id" not in fault
            assert [(it["line"], it["message"]) for it in fault["errors"]["data"]] == [
                (8_001, "custom_id r7 is that of line 8 already.")
            ]
            every_line_has_one_result(again, until(again, expired, ended), "expired", 2000)
            batch = until(again, cancelled, ended)
            ids = every_line_has_one_result(again, batch, "cancelled", 2000)
            assert len(first) + 10 <= batch["request_counts"]["completed"] < 2000
            assert first < second <= ids


def every_line_has_one_result(server: Server, batch: Mapping[str, Any], status: str, count: int) -> Recorded:
    """Answered, or left undone because of how the batch ended."""
    output, errors = results(server, batch)
    assert batch["status"] == status
    assert {line["error"]["code"] for line in errors.values()} == {f"batch_{status}"}
    assert output.keys() | errors.keys() == {f"r{number}" for number in range(count)}
    counts = {"total": count, "completed": len(output), "failed": len(errors)}
    assert batch["request_counts"] == counts
    return {line["id"] for line in [*output.values(), *errors.values()]}


async def test_database_and_object_store_go_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = OwnServer()
    with s3_server(tmp_path / "s3") as s3, contextlib.ExitStack() as later:
        for name, value in s3.credentials.items():
            monkeypatch.setenv(name, value)
        places = {
            "database_url": postgres.url,
            "blob_url": f"s3://{s3.bucket}/blobs",
            "blob_endpoint": s3.endpoint,
        }
        chosen = {"job_lease_s": LEASE_S, "job_workers": 2, **places}
        with running_server([SLOW], **chosen) as server:
            ids = [create(server, requests(100)) for _ in range(2)]
            until(server, ids[0], done(10))
            argv, env = stop(s3)
            await asyncio.sleep(2)
            later.enter_context(started_again(argv, env))
            until(server, ids[0], done(30))
            postgres.stop()
            await asyncio.sleep(1)
            postgres.start()
            before = await recorded(settings_of(server, **places), ids[0])
            with killed_and_restarted(server, [SLOW], **chosen) as again:
                for id in ids:
                    batch = until(again, id, ended)
                    output, errors = results(again, batch)
                    assert batch["request_counts"] == {"total": 100, "completed": 100, "failed": 0}
                    assert len(output) == 100
                    assert not errors
                    before -= {line["id"] for line in output.values()}
                assert not before


def stop(s3: S3Server) -> tuple[list[str], dict[str, str]]:
    """Kills it; its command line and environment."""
    port = s3.endpoint.rpartition(":")[2]
    children = psutil.Process().children(recursive=True)
    (process,) = [it for it in children if {"nanio", port} <= set(argv_of(it))]
    command = process.cmdline(), process.environ()
    process.kill()
    return command


@contextlib.contextmanager
def started_again(argv: list[str], env: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(argv, env=env) as process:
        yield
        process.terminate()
