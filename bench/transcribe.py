"""Transcription through Tutti against the bare engine (the same Whisper process, reached both ways), and how
soon after a sentence its transcript is there in a realtime session."""

import asyncio
import base64
import io
import json
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import psutil

from bench.report import Claim, at_most, publish
from bench.servers import KEY, Server, engine_of, new_data_dir, tutti
from bench.speech import MODEL as VOICE_MODEL
from bench.speech import VOICE, Pair, alternating, ratios

MODEL, HZ, CHUNK = "openai/whisper-base", 16_000, 1600
SENTENCE = "The scientists discovered a new kind of fish in the deep ocean."
TEXT = (  # repeating one sentence would look like Whisper's own repetitions, which it tries to avoid
    f"{SENTENCE} He played the piano for an hour before dinner was ready. The train to London leaves from "
    "platform four in ten minutes. I would like a cup of coffee with milk and sugar, please. The children "
    "built a small house out of wood in the garden. Nobody knows what will happen after the election."
)
ROUNDS, LIVE = 5, 12
MIN_SILENCE_S = 0.5


async def main() -> None:
    models = ("--model", MODEL, "--model", VOICE_MODEL)
    with new_data_dir() as data_dir:
        async with (
            tutti(data_dir, *models, wait_s=600) as server,
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
        ):
            recording = await _speech(session, server, TEXT)
            await _transcription_s(session, server, recording)
            engine = engine_of(server, "tutti.workers.transcribe")

            async def factor(session: aiohttp.ClientSession, asked: Server) -> float:
                return await _transcription_s(session, asked, recording) / (len(recording) / 2 / HZ)

            factors = [await alternating(session, engine, server, 1, factor) for _ in range(ROUNDS)]
            sentence = await _speech(session, server, SENTENCE)
            cpu_s, began = server.cpu_s(), time.monotonic()
            waits_s = [await _after_the_end_s(session, server, sentence) for _ in range(LIVE)]
            load = (server.cpu_s() - cpu_s) / (time.monotonic() - began)
    publish("transcribe", _claims(factors, waits_s, load), f"{MODEL}, {psutil.cpu_count()} cores")


def _claims(factors: list[list[Pair]], waits_s: list[float], load: float) -> list[Claim]:
    return [
        at_most("real-time factor, Tutti / bare engine", "x", ratios(factors), 1.05),
        Claim("real-time factor through Tutti", "", [pair.through for [pair] in factors]),
        at_most("realtime: transcript after the segment's end", "ms", [wait * 1000 for wait in waits_s], 500),
        Claim("realtime: sessions a core, of CPU time", "", [1 / load]),
    ]


async def _speech(session: aiohttp.ClientSession, server: Server, text: str) -> bytes:
    """Samples, s16le."""
    body = {"model": VOICE_MODEL, "voice": VOICE, "input": text, "response_format": "raw", "sample_rate": HZ}
    async with session.post(
        f"{server.url}/audio/speech", json=body | {"response_encoding": "pcm_s16le"}
    ) as answer:
        answer.raise_for_status()
        return await answer.read()


async def _transcription_s(session: aiohttp.ClientSession, server: Server, recording: bytes) -> float:
    form = aiohttp.FormData({"model": MODEL, "language": "en", "response_format": "verbose_json"})
    form.add_field("file", _wav(recording), filename="speech.wav")
    began = time.monotonic()
    async with session.post(f"{server.url}/audio/transcriptions", data=form) as answer:
        answer.raise_for_status()
        await answer.read()
    return time.monotonic() - began


async def _after_the_end_s(session: aiohttp.ClientSession, server: Server, sentence: bytes) -> float:
    """Measure the delay of a transcript, from the moment when the silence after the speech is long enough.

    The speech is sent as fast as it is spoken, then silence.
    """
    loud = np.flatnonzero(np.abs(np.frombuffer(sentence, "<i2")) > 300)
    async with _realtime(session, server) as socket:
        began = time.monotonic()
        sending = asyncio.create_task(_send(socket, sentence + bytes(2 * HZ * 2)))
        async for message in socket:
            if json.loads(message.data)["type"].endswith("transcription.completed"):
                break
        done = time.monotonic()
        sending.cancel()
    return done - began - int(loud[-1]) / HZ - MIN_SILENCE_S


@asynccontextmanager
async def _realtime(
    session: aiohttp.ClientSession, server: Server
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    query = {"model": MODEL, "input_audio_format": f"pcm_s16le_{HZ}", "language": "en"}
    async with session.ws_connect(f"{server.url}/realtime", params=query) as socket:
        await socket.receive()
        yield socket


async def _send(socket: aiohttp.ClientWebSocketResponse, samples: bytes) -> None:
    began = time.monotonic()
    for start in range(0, len(samples), 2 * CHUNK):
        await asyncio.sleep(began + start / 2 / HZ - time.monotonic())
        audio = base64.b64encode(samples[start : start + 2 * CHUNK]).decode()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})


def _wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setparams((1, 2, HZ, 0, "NONE", ""))
        output.writeframes(samples)
    return file.getvalue()
