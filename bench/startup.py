"""The start of the server: time until it is ready, time to the first token, and its idle memory."""

import asyncio
import time
from pathlib import Path

from bench.load import chat, streams
from bench.report import Claim, at_most, publish
from bench.servers import new_data_dir, tutti

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROUNDS = 5


async def main() -> None:
    with new_data_dir() as data_dir:
        await _measure(data_dir)


async def _measure(data_dir: Path) -> None:
    async with tutti(data_dir, "--model", MODEL, wait_s=300) as server:
        await streams(server, chat(MODEL, "Hi", 1, stream=True), 1, concurrent=1)  # pulls the weights
    ready_s: list[float] = []
    first_s: list[float] = []
    idle_mb: list[float] = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        async with tutti(data_dir, "--model", MODEL) as server:
            ready_s.append(time.monotonic() - began)
            load = await streams(server, chat(MODEL, "Hi", 4, stream=True), 1, concurrent=1)
            first_s.append(load.first_token_s)
            await asyncio.sleep(2)
            own = [p for p in server.processes() if "tutti.workers" not in " ".join(p.cmdline())]
            idle_mb.append(sum(p.memory_full_info().pss for p in own) / 1e6)
    publish(
        "startup",
        [
            at_most("ready, weights on disk", "s", ready_s, 3),
            at_most("first token of the first request, after ready", "s", first_s, 3),
            at_most("idle memory of controller, API worker and shepherds (PSS)", "MB", idle_mb, 150),
            Claim("ready + first token", "s", [a + b for a, b in zip(ready_s, first_s, strict=True)]),
        ],
        notes=MODEL,
    )
