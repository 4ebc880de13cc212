"""Audio through `together` 2 and 3, realtime transcription included."""

import asyncio
import base64
import time
from pathlib import Path

from audio_checks import FILE, LISTENER, SPEECH, TEXT, expect_wav, samples
from checks import expect, run
from together import AsyncTogether, BadRequestError, NotFoundError, Together
from together.realtime import RealtimeConnectionError, RealtimeSessionError

client = Together()


def check_speech_formats() -> None:
    for wanted, head in (("wav", b"RIFF"), ("mp3", b"\xff\xfb"), ("raw", b"")):
        answer = client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart", response_format=wanted)
        data = answer.read()
        assert data.startswith(head) and len(data) > 1000
    expect_wav(client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart").read())


def check_speech_stream() -> None:
    stream = client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart", stream=True)
    chunks = list(stream)
    assert {(it.object, it.model) for it in chunks} == {("audio.tts.chunk", SPEECH)}
    whole = client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart", response_format="raw").read()
    assert b"".join(base64.b64decode(it.b64) for it in chunks) == whole


def check_transcription() -> None:
    with Path(FILE).open("rb") as file:
        heard = client.audio.transcriptions.create(file=file, model=LISTENER)
        assert heard.text
        file.seek(0)
        detailed = client.audio.transcriptions.create(
            file=file,
            model=LISTENER,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            diarize=True,
            max_speakers=2,
        )
    assert detailed.language == "english" and detailed.duration > 0 and detailed.segments
    assert detailed.words[0].speaker_id and detailed.speaker_segments[0].words


async def check_transcription_async() -> None:
    with Path(FILE).open("rb") as file:
        heard = await AsyncTogether().audio.transcriptions.create(file=("a.wav", file.read()), model=LISTENER)
    assert heard.text


def check_translation() -> None:
    with Path(FILE).open("rb") as file:
        assert client.audio.translations.create(file=file, model=LISTENER).text


def check_voices() -> None:
    listed = {it.model: it.voices for it in client.audio.voices.list().data}
    assert listed[SPEECH][0].id and listed[SPEECH][0].name


def check_errors() -> None:
    expect(BadRequestError, lambda: client.audio.speech.create(model=SPEECH, input=" ", voice="heart"))
    expect(NotFoundError, lambda: client.audio.speech.create(model="none", input="a", voice="heart"))


async def _heard(**options: object) -> tuple[str, list[str]]:
    """What is transcribed of the file, sent a fifth of a second at a time, and the kinds of events."""
    kinds: list[str] = []
    client = AsyncTogether()
    session = client.beta.realtime.transcription(
        model=LISTENER, event_callback=lambda event: kinds.append(event.type), **options
    )
    async with session:
        audio = samples() + bytes(32_000)
        for start in range(0, len(audio), 6400):
            await session.append(audio[start : start + 6400])
        await session.commit()
        async with asyncio.timeout(60):
            while "transcript.completed" not in kinds:
                await asyncio.sleep(0.05)
        text = await session.flush(quiescence=0.5, timeout=60)
    return text, kinds


async def check_realtime() -> None:
    text, kinds = await _heard()
    assert text and "transcript.delta" in kinds and "transcript.completed" in kinds, kinds


async def check_realtime_by_commit() -> None:
    text, kinds = await _heard(turn_detection={"type": "none"}, prompt="Well,", language="auto")
    assert text and kinds.count("transcript.completed") == 1, kinds


def check_realtime_by_hand() -> None:
    """The events beneath: echo, clear, changes."""
    with client.beta.realtime.connect(model=LISTENER, prompt="Well,") as connection:
        assert connection.recv().type == "session.created"
        connection.echo(echo_id=int(time.time()))
        connection.input_audio_buffer.append(samples())
        connection.input_audio_buffer.clear()
        connection.input_audio_buffer.append(samples())
        connection.input_audio_buffer.commit()
        kinds: list[str] = []
        while not kinds or not kinds[-1].endswith("completed"):
            kinds.append(connection.recv(timeout=60).type)
    assert "echo.response" in kinds and "input_audio_buffer.processed" in kinds


async def check_realtime_errors() -> None:
    """Fatal ones are not tried again."""
    for options in ({"model": "test/none"}, {"model": LISTENER, "input_audio_format": "mp3"}):
        try:
            async with asyncio.timeout(60):
                async with AsyncTogether().beta.realtime.transcription(**options):
                    pass
        except (RealtimeConnectionError, RealtimeSessionError, ValueError):
            continue
        raise AssertionError(options)


run(globals())
