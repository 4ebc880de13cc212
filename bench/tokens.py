"""Tokens per second through Tutti against the bare engine: the same llama.cpp process, reached both ways.

Rounds alternate, so that both see the same noise.
"""

import json
import tempfile
from pathlib import Path

import psutil

from bench.load import Load, chat, streams
from bench.report import Claim, at_least, publish
from bench.servers import Server, engine_of, tutti

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROUNDS, TOKENS = 3, 40
PROMPT = "Write a long story about a lighthouse keeper and the sea. Do not stop."


def _body(model: str) -> bytes:
    body = json.loads(chat(model, PROMPT, TOKENS, stream=True))
    return json.dumps(
        {**body, "logit_bias": {"2": -100}}
    ).encode()  # 2 ends the turn: every stream runs full length


async def _rate(server: Server, body: bytes, concurrent: int) -> float:
    load: Load = await streams(server, body, concurrent, concurrent=concurrent)
    assert load.tokens >= concurrent * TOKENS * 0.9, f"{server.name}: {load.tokens} tokens"
    return load.tokens / load.seconds


async def main() -> None:
    claims: list[Claim] = []
    data_dir = Path(tempfile.gettempdir()) / "tutti-bench"
    async with tutti(data_dir, "--model", MODEL, wait_s=300) as server:
        await wait_loaded(server)
        engine = engine_of(server, "tutti.workers.llamacpp")
        for concurrent in (1, 8, 16):
            await _rate(server, _body(MODEL), concurrent)
            rounds = [
                (await _rate(engine, _body(MODEL), concurrent), await _rate(server, _body(MODEL), concurrent))
                for _ in range(ROUNDS)
            ]
            ratios = [through / bare for bare, through in rounds]
            claims.append(at_least(f"tokens/s, Tutti / bare engine, {concurrent} streams", "x", ratios, 0.97))
            claims.append(
                Claim(f"tokens/s through Tutti, {concurrent} streams", "1/s", [t for _, t in rounds])
            )
    publish("tokens", claims, notes=f"{MODEL}, {TOKENS} tokens a stream, {psutil.cpu_count()} cores")


async def wait_loaded(server: Server) -> None:
    await streams(server, chat(MODEL, "Hi", 1, stream=True), 1, concurrent=1)
