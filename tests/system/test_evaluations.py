"""Evaluations of a real `tutti serve`: killed on the way, and judged by a real model."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.server import Server, running_server
from tests.support.weights import SMOLLM2

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
    give_up_at = time.monotonic() + within_s
    while True:
        found = server.client.get(f"/v1/evaluation/{id}").json()
        if found["status"] not in ("pending", "queued", "running"):
            return found
        assert time.monotonic() < give_up_at, server.output
        time.sleep(0.1)


def lines(server: Server, done: dict[str, Any]) -> list[Any]:
    content = server.client.get(f"/v1/files/{done['results']['result_file_id']}/content")
    return [json.loads(line) for line in content.text.splitlines()]


def chunks(server: Server, id: str) -> dict[int, Any]:
    """What the job has recorded: by number, the rows and their object."""
    with sqlite3.connect(server.data_dir / "tutti.db") as database:
        found = database.execute("SELECT seq, items, parts FROM job_chunks WHERE job_id = ?", (id,))
        return {seq: (json.loads(items), parts) for seq, items, parts in found}


def kill_worker(server: Server) -> None:
    (worker,) = [it for it in server.tree() if it.cmdline()[1:] == ["-m", "tutti.app.jobworker"]]
    os.kill(worker.pid, signal.SIGKILL)


def test_a_killed_worker_goes_on_where_it_was() -> None:
    scores = {"min_score": 0, "max_score": 10, "pass_threshold": 5, "model_to_evaluate": "text"}
    with running_server(job_lease_s=2) as server:
        id = create(server, "score", "echo", ROWS, **scores)
        recorded: dict[int, Any] = {}
        for kill in (1, 2):
            give_up_at = time.monotonic() + 30
            while len(chunks(server, id)) < len(recorded) + 1:
                assert time.monotonic() < give_up_at, server.output
                time.sleep(0.02)
            kill_worker(server)
            before, recorded = recorded, chunks(server, id)
            assert recorded.items() >= before.items(), f"kill {kill}"
        done = ended(server, id)
        assert done["status"] == "completed"
        assert [it["status"] for it in done["status_updates"]] == [
            "pending",
            "queued",
            "running",
            "completed",
        ]

        # What was recorded is still what it was: those rows were not judged again, and no row was left out.
        finally_recorded = chunks(server, id)
        assert finally_recorded.items() >= recorded.items()
        items = [range for ranges, _ in finally_recorded.values() for range in ranges]
        assert sorted(n for first, last in items for n in range(first, last + 1)) == list(range(len(ROWS)))

        judged = lines(server, done)
        assert [line["n"] for line in judged] == list(range(len(ROWS)))
        assert [line["score"] for line in judged] == [n % 11 for n in range(len(ROWS))]
        mean = sum(n % 11 for n in range(len(ROWS))) / len(ROWS)
        assert done["results"]["aggregated_scores"]["mean_score"] == pytest.approx(mean)
        assert not [it for it in server.tree() if "tutti.workers.render" in it.cmdline()]


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
        compare = create(server, "compare", SMOLLM2, rows, judge={**judge, **told}, model_a="a", model_b="b")

        done = ended(server, classify, 100)
        assert done["status"] == "completed", done
        assert sum(json.loads(done["results"]["label_counts"]).values()) == 2
        assert all(
            line["label"] in labels["labels"] and line["judge_feedback"] for line in lines(server, done)
        )

        results = ended(server, compare, 100)["results"]
        assert results["num_samples"] == 2 and results["judge_fail_count"] == 0
