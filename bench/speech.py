"""Speech through Tutti against the bare engine: the same hibari process, reached both ways.

Requests alternate, so that both see the same noise. The first audio is what streaming is about: the time from
the request to the samples of the first sentence.
"""

import time
from collections.abc import Awaitable, Callable
from statistics import median

import aiohttp
import psutil

from bench.report import Claim, at_most, publish
from bench.servers import KEY, Server, engine_of, new_data_dir, tutti

MODEL, VOICE, HZ = "maureesewilliams/hibari", "heart", 24_000
SENTENCE = "Our platform can transcribe speech and answer questions about it in real time. "
ROUNDS, FIRST_AUDIOS, SENTENCES = 9, 80, 8

Ask = Callable[[aiohttp.ClientSession, Server], Awaitable[float]]


async def main() -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with new_data_dir() as data_dir:
        async with (
            tutti(data_dir, "--model", MODEL, wait_s=300) as server,
            aiohttp.ClientSession(headers=headers) as session,
        ):
            engine = engine_of(server, "tutti.workers.speech")
            await alternating(session, engine, server, 2, _whole)
            firsts = [
                await alternating(session, engine, server, FIRST_AUDIOS, _first_audio_s)
                for _ in range(ROUNDS)
            ]
            cpu_s = server.cpu_s()
            factors = [await alternating(session, engine, server, 2, _whole) for _ in range(ROUNDS)]
            cpu_s = server.cpu_s() - cpu_s
            audio_s = ROUNDS * 2 * 2 * await _audio_s(session, engine)
    publish("speech", _claims(firsts, factors, cpu_s / audio_s), f"{MODEL}, {psutil.cpu_count()} cores")


def _claims(
    firsts: list[tuple[float, float]], factors: list[tuple[float, float]], cpu_factor: float
) -> list[Claim]:
    return [
        at_most("first audio, Tutti / bare engine", "x", [tutti / bare for bare, tutti in firsts], 1.05),
        Claim("what Tutti adds to the first audio", "ms", [(tutti - bare) * 1000 for bare, tutti in firsts]),
        at_most("first audio through Tutti", "ms", [tutti * 1000 for _, tutti in firsts], 150),
        at_most(
            "real-time factor, Tutti / bare engine", "x", [tutti / bare for bare, tutti in factors], 1.05
        ),
        Claim("real-time factor through Tutti", "", [tutti for _, tutti in factors]),
        Claim("streams in real time a core, of CPU time", "", [1 / cpu_factor]),
    ]


async def alternating(
    session: aiohttp.ClientSession, engine: Server, server: Server, count: int, ask: Ask
) -> tuple[float, float]:
    """Medians: of the bare engine, and through Tutti."""
    bare: list[float] = []
    through: list[float] = []
    for _ in range(count // 2):
        bare.append(await ask(session, engine))
        through += [await ask(session, server), await ask(session, server)]
        bare.append(await ask(session, engine))
    return median(bare), median(through)


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
    """The real-time factor."""
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
