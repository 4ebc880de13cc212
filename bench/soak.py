"""A soak of bounded length: jobs of every fate for minutes on end, and the memory of the processes meanwhile.

A round is a batch that is done, one that is cancelled, one whose file is wrong, an evaluation and requests of
clients. The first rounds are warm-up; then memory has to stay where it is.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import aiohttp
import psutil

from bench.batch import ECHO, Api, ended, lines, opened
from bench.load import chat, requests
from bench.report import Claim, at_most, publish

SECONDS = float(os.environ.get("TUTTI_SOAK_S", "300"))
WARM_UP, MOST_MB = 0.25, 8.0
DONE, CANCELLED, WRONG, ROWS, ASKED = 500, 2000, 2000, 100, 50
MODEL = "bench/echo"


def _wrong(run: str) -> Iterator[str]:
    yield from lines(MODEL, WRONG, 8, run)
    yield '{"custom_id": "r0", "body": {}}'


async def _evaluate(api: Api) -> None:
    rows = "".join(
        json.dumps({"number": number, "text": f"{number % 11} [[this]]"}) + "\n" for number in range(ROWS)
    )
    form = aiohttp.FormData({"purpose": "eval", "file_name": "rows.jsonl", "file_type": "jsonl"})
    form.add_field("file", rows, filename="rows.jsonl")
    async with api.http.post("/v1/files/upload", data=form) as answer:
        file_id = (await answer.json())["id"]
    judge = {"model": MODEL, "model_source": "serverless", "system_template": "Number {{ number }}."}
    scores = {"min_score": 0, "max_score": 10, "pass_threshold": 5, "model_to_evaluate": "text"}
    body = {"type": "score", "parameters": {"judge": judge, "input_data_file_path": file_id, **scores}}
    async with api.http.post("/v1/evaluation", json=body) as answer:
        id = (await answer.json())["workflow_id"]
    while (found := await _evaluation(api, id))["status"] in ("pending", "queued", "running"):
        await asyncio.sleep(0.1)
    assert found["results"]["failed_samples"] == 0, found


async def _evaluation(api: Api, id: str) -> dict:
    async with api.http.get(f"/v1/evaluation/{id}") as answer:
        return await answer.json()


async def _round(api: Api, number: int) -> int:
    """Run one round of jobs, and return how many requests of batches have their result."""
    done = await api.create(lines(MODEL, DONE, 8, f"done {number}"))
    cancelled = await api.create(lines(MODEL, CANCELLED, 8, f"[[sleep 0.2]] cancelled {number}"))
    wrong = await api.create(_wrong(f"wrong {number}"))
    await api.until(cancelled, lambda row: row["in_progress_at"] is not None)
    await api.cancel(cancelled)
    await _evaluate(api)
    await requests(api.server, chat(MODEL, f"live {number}", 8, stream=False), ASKED, concurrent=4)
    rows = [await api.until(id, ended) for id in (done, cancelled, wrong)]
    assert [row["status"] for row in rows] == ["COMPLETED", "CANCELLED", "FAILED"], [
        dict(row) for row in rows
    ]
    assert (
        rows[0]["completed_lines"] == DONE
        and rows[1]["completed_lines"] + rows[1]["failed_lines"] == CANCELLED
    )
    return DONE + CANCELLED


def _memory_mb(api: Api) -> dict[str, float]:
    """Return the memory in MB of the processes that must not grow, by role."""
    roles = {"job worker": "tutti.app.jobworker", "api worker": "tutti.app.api"}
    processes = {tuple(it.cmdline()[1:]): it for it in api.server.processes()}
    found = {role: processes["-m", module] for role, module in roles.items()}
    found["controller"] = psutil.Process(api.server.pid)
    return {role: process.memory_info().rss / 1e6 for role, process in found.items()}


def _growth(role: str, seen: list[dict[str, float]]) -> Claim:
    """Return the growth from the first third of the measurements to the last."""
    third = max(1, len(seen) // 3)
    first, last = (median(it[role] for it in part) for part in (seen[:third], seen[-third:]))
    return at_most(f"memory of the {role}, added", "MB", [last - first], MOST_MB)


async def main() -> None:
    began, worked, seen = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "echo.toml"
        catalog.write_text(ECHO)
        async with opened(Path(folder) / "data", "--catalog", str(catalog), "--model", MODEL) as api:
            while (passed_s := time.monotonic() - began) < SECONDS or len(seen) < 3:
                worked += await _round(api, len(seen))
                if passed_s > WARM_UP * SECONDS:
                    seen.append(_memory_mb(api))
    roles = list(seen[0])
    claims = [
        *(_growth(role, seen) for role in roles),
        *(Claim(f"memory of the {role}", "MB", [it[role] for it in seen]) for role in roles),
    ]
    publish(
        "soak", claims, notes=f"{worked} requests of batches in {time.monotonic() - began:.0f} s, echo engine"
    )
