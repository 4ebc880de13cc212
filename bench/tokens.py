"""Tokens per second through Tutti against the bare engine: the same llama.cpp process, reached both ways.

The same requests go to the same slots. Rounds alternate, and so does which way is first in a round, so that
both see the same noise.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp
import psutil

from bench.load import chat, opened_session, streams
from bench.report import Claim, at_least, publish
from bench.servers import Server, engine_of, new_data_dir, tutti

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROUNDS = 20
"""Many short rounds, because the machine's speed varies over time by more than what is measured."""
TOKENS = {1: 96, 8: 32, 16: 24}
"""Of a stream, by how many streams there are at once."""
Way = Callable[[int], Awaitable[float]]
PROMPT = "Write a long story about a lighthouse keeper and the sea. Do not stop."


def _body(tokens: int) -> bytes:
    body = json.loads(chat(MODEL, PROMPT, tokens, stream=True))
    # Token 2 ends the turn: without it every stream runs full length.
    return json.dumps({**body, "logit_bias": {"2": -100}}).encode()


async def _rate(session: aiohttp.ClientSession, server: Server, concurrent: int) -> float:
    tokens = TOKENS[concurrent]
    load = await streams(server, _body(tokens), concurrent, concurrent=concurrent, session=session)
    assert load.tokens >= concurrent * tokens * 0.9, f"{server.name}: {load.tokens} tokens"
    return load.tokens / load.seconds


async def main() -> None:
    claims: list[Claim] = []
    with new_data_dir() as data_dir:
        async with (
            tutti(data_dir, "--model", MODEL, wait_s=300) as server,
            opened_session() as to_engine,
            opened_session() as to_tutti,
        ):
            await wait_loaded(server)
            bare, through = (
                partial(_rate, to_engine, engine_of(server, "tutti.workers.llamacpp")),
                partial(_rate, to_tutti, server),
            )
            for concurrent in TOKENS:
                await through(concurrent)
                ratios, rates = [], []
                for number in range(ROUNDS):
                    rate = {way: await way(concurrent) for way in _in_turn(bare, through, number)}
                    ratios.append(rate[through] / rate[bare])
                    rates.append(rate[through])
                claims.append(
                    at_least(f"tokens/s, Tutti / bare engine, {concurrent} streams", "x", ratios, 0.97)
                )
                claims.append(Claim(f"tokens/s through Tutti, {concurrent} streams", "1/s", rates))
    lengths = ", ".join(f"{tokens} ({count})" for count, tokens in TOKENS.items())
    notes = f"{MODEL}, tokens a stream (streams at once): {lengths}; {psutil.cpu_count()} cores"
    publish("tokens", claims, notes=notes)


def _in_turn(first: Way, second: Way, number: int) -> tuple[Way, Way]:
    return (second, first) if number % 2 else (first, second)


async def wait_loaded(server: Server) -> None:
    await streams(server, chat(MODEL, "Hi", 1, stream=True), 1, concurrent=1)
