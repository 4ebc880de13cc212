"""Evaluations of a real `tutti serve`: killed on the way, and judged by a real model."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.patience import limit
from tests.support.postgres import empty_database, postgres_url
from tests.support.server import ECHO, Server, argv_of, killed_and_restarted, running_server
from tests.support.weights import SMOLLM2

from tutti.base.settings import Settings
from tutti.store.db import Database, database_url
from tutti.store.records import JobChunk

ROWS = [{"n": n, "text": f"[[sleep 0.1]] {n % 11} [[this]]"} for n in range(80)]
WORKERS = 4


def upload(server: Server, rows: Sequence[Any]) -> str:
    form = {"purpose": "eval", "file_name": "data.jsonl", "file_type": "jsonl"}
    data = "".join(json.dumps(row) + "\n" for row in rows)
    answer = server.client.post("/v1/files/upload", data=form, files={"file": ("data.jsonl", data)})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def create(server: Server, type_: str, model: str, rows: Sequence[Any], **parameters: Any) -> str:
    judge = {"model": model, "model_source": "serverless", "system_template": "You judge texts."}
    given = {
        "judge": {**judge, "num_workers": WORKERS},
        "input_data_file_path": upload(server, rows),
        **parameters,
    }
    answer = server.client.post("/v1/evaluation", json={"type": type_, "parameters": given})
    assert answer.status_code == 200, answer.text
    return answer.json()["workflow_id"]


def ended(server: Server, id: str, within_s: float = 60.0) -> dict[str, Any]:
    give_up_at = time.monotonic() + limit(within_s)
    while True:
        found = server.client.get(f"/v1/evaluation/{id}").json()
        if found["status"] not in ("pending", "queued", "running"):
            return found
        assert time.monotonic() < give_up_at, server.output
        time.sleep(0.05)


def lines(server: Server, done: dict[str, Any]) -> list[Any]:
    content = server.client.get(f"/v1/files/{done['results']['result_file_id']}/content")
    return [json.loads(line) for line in content.text.splitlines()]


async def chunks(settings: Settings, id: str) -> dict[int, Any]:
    """What the job has recorded: by number, the rows and their object."""
    database = await Database.open(database_url(settings))
    async with database.read() as session:
        found = (await session.scalars(select(JobChunk).where(JobChunk.job_id == id))).all()
    await database.close()
    return {it.seq: (it.items, it.parts) for it in found}


async def more_chunks(settings: Settings, id: str, before: Mapping[int, Any]) -> dict[int, Any]:
    async with asyncio.timeout(limit(60)):
        while len(found := await chunks(settings, id)) <= len(before):
            await asyncio.sleep(0.02)
    assert found.items() >= before.items()
    return found


def kill_worker(server: Server) -> None:
    (worker,) = server.job_workers()
    os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_is_judged_is_not_judged_again(kind: str) -> None:
    """The worker is killed, then everything."""
    place = {} if kind == "sqlite" else {"database_url": postgres_url(await empty_database())}
    scores = {"min_score": 0, "max_score": 10, "pass_threshold": 5, "model_to_evaluate": "text"}
    with running_server(job_lease_s=1, **place) as server:
        settings = Settings(data_dir=server.data_dir, **place)
        id = create(server, "score", "echo", ROWS, **scores)
        recorded = await more_chunks(settings, id, {})
        kill_worker(server)
        recorded = await more_chunks(settings, id, recorded)
        with killed_and_restarted(server, (ECHO,), job_lease_s=1, **place) as again:
            done = ended(again, id)
            finally_recorded = await chunks(settings, id)
            judged = lines(again, done)
            left_over = [it for it in again.tree() if "tutti.workers.render" in argv_of(it)]
        statuses = [it["status"] for it in done["status_updates"]]
        assert statuses == ["pending", "queued", "running", "completed"]

        # What was recorded is still what it was: those rows were not judged again, and no row was left out.
        assert finally_recorded.items() >= recorded.items()
        items = [range for ranges, _ in finally_recorded.values() for range in ranges]
        assert sorted(n for first, last in items for n in range(first, last + 1)) == list(range(len(ROWS)))

        assert [line["n"] for line in judged] == list(range(len(ROWS)))
        assert [line["score"] for line in judged] == [n % 11 for n in range(len(ROWS))]
        mean = sum(n % 11 for n in range(len(ROWS))) / len(ROWS)
        assert done["results"]["aggregated_scores"]["mean_score"] == pytest.approx(mean)
        assert not left_over


def test_a_real_model_judges() -> None:
    """Not whether it judges well: whether every answer is one, since the grammar leaves it no other."""
    rows = [
        {"review": "I loved it, best day ever.", "a": "Paris.", "b": "I do not know."},
        {"review": "Terrible. Never again!", "a": "Bananas are yellow.", "b": "The capital is Rome."},
    ]
    with running_server([SMOLLM2]) as server:
        judge = {"model": SMOLLM2, "model_source": "serverless", "max_tokens": 400, "temperature": 0}
        told = {"system_template": "Is this review of {{ review | length }} characters positive or negative?"}
        labels = {"labels": ["positive", "negative"], "pass_labels": ["positive"]}
        classify = create(server, "classify", SMOLLM2, rows, judge={**judge, **told}, **labels)
        told = {"system_template": "Which response answers the question for a capital city?"}
        compare = create(
            server, "compare", SMOLLM2, rows[:1], judge={**judge, **told}, model_a="a", model_b="b"
        )

        done = ended(server, classify, 100)
        assert done["status"] == "completed", done
        assert sum(json.loads(done["results"]["label_counts"]).values()) == 2
        assert all(
            line["label"] in labels["labels"] and line["judge_feedback"] for line in lines(server, done)
        )

        results = ended(server, compare, 100)["results"]
        assert results["num_samples"] == 1 and results["judge_fail_count"] == 0
