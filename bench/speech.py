"""Speech through Tutti against the bare engine: the same hibari process, reached both ways.

Requests alternate and are compared with their neighbours: how long the engine itself takes varies by a third
from one second to the next. The first audio is what streaming is about: the time from the request to the
samples of the first sentence.
"""

import time
from collections.abc import Awaitable, Callable
from statistics import fmean, median
from typing import NamedTuple

import aiohttp
import psutil

from bench.report import Claim, at_most, publish
from bench.servers import KEY, Server, engine_of, new_data_dir, tutti

MODEL, VOICE, HZ = "maureesewilliams/hibari", "heart", 24_000
SENTENCE = "Our platform can transcribe speech and answer questions about it in real time. "
ROUNDS, FIRST_AUDIOS, WHOLE, SENTENCES = 11, 80, 2, 8

Ask = Callable[[aiohttp.ClientSession, Server], Awaitable[float]]


class Pair(NamedTuple):
    """Means of two requests each, the bare engine's around the others."""

    bare: float
    through: float


async def main() -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with new_data_dir() as data_dir:
        async with (
            tutti(data_dir, "--model", MODEL, wait_s=300) as server,
            aiohttp.ClientSession(headers=headers) as session,
        ):
            engine = engine_of(server, "tutti.workers.speech")
            await alternating(session, engine, server, 1, _whole)
            firsts = [
                await alternating(session, engine, server, FIRST_AUDIOS, _first_audio_s)
                for _ in range(ROUNDS)
            ]
            cpu_s = server.cpu_s()
            factors = [await alternating(session, engine, server, WHOLE, _whole) for _ in range(ROUNDS)]
            cpu_s = server.cpu_s() - cpu_s
            audio_s = ROUNDS * WHOLE * 4 * await _audio_s(session, engine)
    publish("speech", _claims(firsts, factors, cpu_s / audio_s), f"{MODEL}, {psutil.cpu_count()} cores")


def _claims(firsts: list[list[Pair]], factors: list[list[Pair]], cpu_factor: float) -> list[Claim]:
    added_ms = [median((pair.through - pair.bare) * 1000 for pair in pairs) for pairs in firsts]
    first_ms = [median(pair.through * 1000 for pair in pairs) for pairs in firsts]
    return [
        at_most("first audio, Tutti / bare engine", "x", ratios(firsts), 1.05),
        Claim("what Tutti adds to the first audio", "ms", added_ms),
        at_most("first audio through Tutti", "ms", first_ms, 150),
        at_most("real-time factor, Tutti / bare engine", "x", ratios(factors), 1.05),
        Claim(
            "real-time factor through Tutti",
            "",
            [median(pair.through for pair in pairs) for pairs in factors],
        ),
        Claim("streams in real time a core, of CPU time", "", [1 / cpu_factor]),
    ]


def ratios(rounds: list[list[Pair]]) -> list[float]:
    return [median(pair.through / pair.bare for pair in pairs) for pairs in rounds]


async def alternating(
    session: aiohttp.ClientSession, engine: Server, server: Server, pairs: int, ask: Ask
) -> list[Pair]:
    made: list[Pair] = []
    for _ in range(pairs):
        before, *through, after = [await ask(session, it) for it in (engine, server, server, engine)]
        made.append(Pair(fmean([before, after]), fmean(through)))
    return made


async def _first_audio_s(session: aiohttp.ClientSession, server: Server) -> float:
    """Tutti's streams are server-sent events, the engine's are samples."""
    body, mark = ({"stream": True}, b'"b64"') if server.name == "tutti" else ({}, b"\0")
    began, seen = time.monotonic(), b""
    async with session.post(f"{server.url}/audio/speech", json=_request(2) | body) as answer:
        answer.raise_for_status()
        while mark not in seen:
            seen += await answer.content.readany()
        first_s = time.monotonic() - began
        await answer.read()
    return first_s


async def _whole(session: aiohttp.ClientSession, server: Server) -> float:
    """Return the real-time factor."""
    began = time.monotonic()
    audio_s = await _audio_s(session, server)
    return (time.monotonic() - began) / audio_s


async def _audio_s(session: aiohttp.ClientSession, server: Server) -> float:
    async with session.post(f"{server.url}/audio/speech", json=_request(SENTENCES)) as answer:
        answer.raise_for_status()
        return len(await answer.read()) / 2 / HZ


def _request(sentences: int) -> dict[str, str | int]:
    return {
        "model": MODEL,
        "voice": VOICE,
        "input": SENTENCE * sentences,
        "response_format": "raw",
        "response_encoding": "pcm_s16le",
    }
