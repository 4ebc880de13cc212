"""Batches: throughput against the bare engine, what they cost clients, and what a million requests cost.

The same llama.cpp process does the same requests as a batch and for a plain script that keeps all its slots
busy, in alternating rounds; a client that asks every few seconds is timed with and without a batch beside it.
"""

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil

from bench.load import chat, requests
from bench.report import Claim, at_least, at_most, publish
from bench.servers import KEY, Server, engine_of, new_data_dir, tutti
from bench.tokens import MODEL, wait_loaded

ROUNDS = 3
PAIRS = 16
"""Rounds of batch and script: many short ones, because the machine's speed varies over time."""
LINES, TOKENS, SLOTS = 32, 32, 8
ASKED, PAUSE_S, LIVE_TOKENS = 20, 1.5, 32
"""A batch learns from the first few of them how often clients ask."""
ECHO_LINES = 5000
MILLION = 1_000_000
CHATS = "/v1/chat/completions"
ECHO = '["bench/echo"]\ntype = "chat"\nengine = "echo"\noptions = { slots = 64 }\n'


@dataclass(frozen=True)
class Api:
    """A client of one server, with access to that server's database."""

    server: Server
    data_dir: Path
    http: aiohttp.ClientSession

    async def create(self, lines: Iterator[str]) -> str:
        path = self.data_dir / "requests.jsonl"
        with path.open("w") as file:
            file.writelines(line + "\n" for line in lines)
        form = {"purpose": "batch-api", "file_name": path.name, "file_type": "jsonl"}
        async with self.http.post("/v1/files", data=form, allow_redirects=False) as answer:
            place, id = answer.headers["location"], answer.headers["x-together-file-id"]
        with path.open("rb") as file:
            async with aiohttp.ClientSession() as anybody, anybody.put(place, data=file) as answer:
                assert answer.status == 200, await answer.text()
        path.unlink()
        body = {"input_file_id": id, "endpoint": CHATS}
        async with self.http.post("/v1/batches", json=body) as answer:
            assert answer.status == 201, await answer.text()
            return (await answer.json())["id"]

    async def cancel(self, id: str) -> None:
        async with self.http.post(f"/v1/batches/{id}/cancel") as answer:
            assert answer.status == 200, await answer.text()

    async def until(self, id: str, true: Callable[[Any], bool]) -> sqlite3.Row:
        """Wait until `true` holds for the batch's row, and return the row."""
        while not true(row := self.row(id)):
            await asyncio.sleep(0.25)
        return row

    def row(self, id: str) -> sqlite3.Row:
        database = sqlite3.connect(self.data_dir / "tutti.db")
        database.row_factory = sqlite3.Row
        query = "SELECT b.*, j.started_at FROM batches b JOIN jobs j ON j.id = b.id WHERE b.id = ?"
        row = database.execute(query, (id,)).fetchone()
        database.close()
        return row

    def job_worker(self) -> psutil.Process:
        (found,) = [it for it in self.server.processes() if it.cmdline()[1:] == ["-m", "tutti.app.jobworker"]]
        return found


@asynccontextmanager
async def opened(data_dir: Path, *flags: str, wait_s: float = 60) -> AsyncIterator[Api]:
    async with (
        tutti(data_dir, *flags, wait_s=wait_s) as server,
        aiohttp.ClientSession(
            server.url.removesuffix("/v1"),
            headers={"authorization": f"Bearer {KEY}"},
            # Writing a million lines takes longer than the server keeps a connection.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=600),
        ) as http,
    ):
        yield Api(server, data_dir, http)


def ended(row: sqlite3.Row) -> bool:
    return row["finished_at"] is not None


def lines(model: str, count: int, tokens: int, run: str) -> Iterator[str]:
    """Yield requests that all differ, so that no cache helps one side more than the other."""
    for number in range(count):
        body = json.loads(chat(model, f"{run}, number {number}: tell a story.", tokens, stream=False))
        yield json.dumps({"custom_id": f"r{number}", "body": body})


# --- with a real model ------------------------------------------------------------------------------------


def long_lines(count: int, run: str) -> Iterator[str]:
    """Yield requests whose answers have TOKENS tokens each: the token that ends a turn (2) is forbidden."""
    for line in lines(MODEL, count, TOKENS, run):
        request = json.loads(line)
        request["body"]["logit_bias"] = {"2": -100}
        yield json.dumps(request)


async def _by_script(engine: Server, run: str) -> float:
    """Requests a second, with all slots busy."""
    bodies = [json.dumps(json.loads(line)["body"]) for line in long_lines(LINES, run)]
    waiting = iter(bodies)

    async def work(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            async with session.post(f"{engine.url}/chat/completions", data=body) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()

    timeout, headers = aiohttp.ClientTimeout(total=600), {"content-type": "application/json"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        began = time.monotonic()
        await asyncio.gather(*(work(session) for _ in range(SLOTS)))
        return LINES / (time.monotonic() - began)


async def _by_batch(api: Api, run: str) -> float:
    """Return a batch's requests a second, from the check of its file until its results are files."""
    row = await api.until(await api.create(long_lines(LINES, run)), ended)
    assert row["completed_lines"] == LINES, dict(row)
    return LINES / (row["finished_at"] - row["in_progress_at"])


async def _latency_s(server: Server, run: str) -> list[float]:
    seconds: list[float] = []
    for number in range(ASKED):
        body = json.loads(chat(MODEL, f"{run}, question {number}: why?", LIVE_TOKENS, stream=False))
        asked = json.dumps({**body, "logit_bias": {"2": -100}}).encode()
        seconds.append((await requests(server, asked, 1, concurrent=1)).seconds)
        await asyncio.sleep(PAUSE_S)
    return seconds


async def _beside(api: Api, run: str) -> tuple[list[float], float]:
    """Measure a client's latencies while a batch runs, and the batch's requests a second meanwhile."""
    id = await api.create(long_lines(2000, run))
    await api.until(id, lambda row: row["completed_lines"] >= SLOTS)
    before, began = api.row(id)["completed_lines"], time.monotonic()
    seconds = await _latency_s(api.server, run)
    rate = (api.row(id)["completed_lines"] - before) / (time.monotonic() - began)
    await api.cancel(id)
    await api.until(id, ended)
    return seconds, rate


async def _with_a_model() -> list[Claim]:
    with new_data_dir() as data_dir:
        async with opened(data_dir, "--model", MODEL, wait_s=300) as api:
            return await _compared(api)


async def _compared(api: Api) -> list[Claim]:
    await wait_loaded(api.server)
    engine = engine_of(api.server, "tutti.workers.llamacpp")
    script, batch = await _throughputs(api, engine)
    alone, beside, rates = [], [], []
    for number in range(ROUNDS):
        alone.append(await _latency_s(api.server, f"alone {number}"))
        seconds, rate = await _beside(api, f"beside {number}")
        beside.append(seconds)
        rates.append(rate)
    pairs = list(zip(beside, alone, strict=True))
    latencies = [median(b) / median(a) for b, a in pairs]
    return [
        at_least("requests/s of a batch / of a script at the bare engine", "x", _ratios(batch, script), 0.95),
        Claim("requests/s of a batch", "1/s", batch),
        at_most("a client's latency beside a batch / alone, p50", "x", latencies, 1.2),
        Claim("the same, slowest of each", "x", [max(b) / max(a) for b, a in pairs]),
        Claim("a client's latency alone, p50", "s", [median(a) for a in alone]),
        Claim("requests/s of the batch beside that client", "1/s", rates),
    ]


async def _throughputs(api: Api, engine: Server) -> tuple[list[float], list[float]]:
    """Requests a second of the script and of the batch, which is first in every other round."""
    await _by_batch(api, "warm")
    await _by_script(engine, "warm")
    script, batch = [], []
    for number in range(PAIRS):
        if number % 2:
            batch.append(await _by_batch(api, f"batch {number}"))
        script.append(await _by_script(engine, f"script {number}"))
        if not number % 2:
            batch.append(await _by_batch(api, f"batch {number}"))
    return script, batch


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [our / their for our, their in zip(ours, theirs, strict=True)]


# --- with the echo engine: what the server itself costs ---------------------------------------------------


async def _a_line(api: Api) -> tuple[float, float]:
    """Microseconds of CPU of the job worker for one request, and requests a second."""
    id = await api.create(lines("bench/echo", ECHO_LINES, 8, "echo"))
    await api.until(id, lambda row: row["in_progress_at"] is not None)
    before = _cpu_s(api.job_worker())
    row = await api.until(id, ended)
    assert row["completed_lines"] == ECHO_LINES, dict(row)
    used_s = _cpu_s(api.job_worker()) - before
    return used_s / ECHO_LINES * 1e6, ECHO_LINES / (row["finished_at"] - row["in_progress_at"])


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


async def _a_million(api: Api) -> list[Claim]:
    before = api.job_worker().memory_info().rss
    peaks = {"job worker": before}
    watching = asyncio.create_task(_watch(api, peaks))
    began = time.monotonic()
    id = await api.create(lines("bench/echo", MILLION, 8, "million"))
    uploaded_s = time.monotonic() - began
    row = await api.until(id, lambda row: row["in_progress_at"] is not None)
    checked = peaks["job worker"]
    listed = [await _listed_s(api) for _ in range(20)]
    await asyncio.sleep(5)
    began = time.monotonic()
    await api.cancel(id)
    await api.until(id, ended)
    cancelled_s = time.monotonic() - began
    watching.cancel()
    megabytes = row["file_size_bytes"] / 1e6
    return [
        Claim(f"written, uploaded and accepted: {MILLION} requests, {megabytes:.0f} MB", "s", [uploaded_s]),
        Claim("checked", "s", [row["in_progress_at"] - row["started_at"]]),
        at_most("memory of the job worker, added by checking", "MB", [(checked - before) / 1e6], 64),
        at_most(
            "the same, at most until it was cancelled", "MB", [(peaks["job worker"] - before) / 1e6], 128
        ),
        Claim("listed meanwhile", "ms", [median(listed) * 1e3]),
        Claim("cancelled, with a result line for each request", "s", [cancelled_s]),
    ]


async def _listed_s(api: Api) -> float:
    began = time.monotonic()
    async with api.http.get("/v1/batches") as answer:
        await answer.read()
    return time.monotonic() - began


async def _watch(api: Api, peaks: dict[str, int]) -> None:
    process = api.job_worker()
    while True:
        peaks["job worker"] = max(peaks["job worker"], process.memory_info().rss)
        await asyncio.sleep(0.05)


async def _with_echo() -> list[Claim]:
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "echo.toml"
        catalog.write_text(ECHO)
        data_dir = Path(folder) / "data"
        async with opened(data_dir, "--catalog", str(catalog), "--model", "bench/echo") as api:
            await _a_line(api)
            rounds = [await _a_line(api) for _ in range(ROUNDS)]
            million = await _a_million(api)
    return [
        Claim("CPU of the job worker a request (echo engine)", "us", [us for us, _ in rounds]),
        Claim("requests/s (echo engine)", "1/s", [rate for _, rate in rounds]),
        *million,
    ]


async def main() -> None:
    notes = f"{MODEL}, {LINES} requests of {TOKENS} tokens a round, {SLOTS} slots; {psutil.cpu_count()} cores"
    publish("batch", [*await _with_a_model(), *await _with_echo()], notes=notes)
