"""OpenAI's dialect for sound: what each kind of server is asked, and what its answers mean."""

import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.engines import Canned, model

from tutti.base.errors import InvalidRequest, RateLimited, Unavailable
from tutti.engines.audio import (
    Append,
    Completed,
    Delta,
    Opened,
    RealtimeCall,
    SpeechCall,
    TranscriptionCall,
)
from tutti.engines.openai_audio import (
    AudioDialect,
    AudioServer,
    RealtimeSessions,
    read_transcript,
    speech_body,
    transcription_fields,
)

OURS, TOGETHER, OPENAI = AudioServer("m"), AudioServer("m", "together"), AudioServer("m", "openai")


def speech(**fields: Any) -> SpeechCall:
    return SpeechCall(**{"model": model(type="audio"), "text": "Hi.", "voice": "v", **fields})


def transcription(**fields: Any) -> TranscriptionCall:
    given = {"model": model(type="transcribe"), "audio": Path("/a"), "filename": "a b.wav", **fields}
    return TranscriptionCall(**given)


def dialect(server: AudioServer) -> AudioDialect:
    return AudioDialect(lambda _: server)


async def all_of(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def test_each_server_is_asked_for_what_it_knows() -> None:
    rules = speech(
        speed=1.5, sample_rate_hz=8000, pronunciation=("a/b",), language="fr", response_format="raw"
    )
    assert speech_body(OURS, rules) == {
        "model": "m",
        "input": "Hi.",
        "voice": "v",
        "language": "fr",
        "speed": 1.5,
        "response_format": "raw",
        "response_encoding": "pcm_s16le",
        "sample_rate": 8000,
        "extra_params": {"pronunciation_dict": ["a/b"]},
    }
    raw = speech_body(TOGETHER, speech(response_format="raw"))
    assert raw["stream"] is True and "speed" not in raw
    assert speech_body(OPENAI, speech(response_format="raw", language="fr")) == {
        "model": "m",
        "input": "Hi.",
        "voice": "v",
        "response_format": "pcm",
    }
    assert speech_body(OPENAI, speech(response_format="opus", speed=2.0))["speed"] == 2.0


@pytest.mark.parametrize(
    ("server", "fields", "param"),
    [
        (OPENAI, {"response_format": "raw", "response_encoding": "pcm_alaw"}, "response_encoding"),
        (OPENAI, {"sample_rate_hz": 8000}, "sample_rate"),
        (OPENAI, {"pronunciation": ("a/b",)}, "extra_params"),
        (TOGETHER, {"speed": 2.0}, "speed"),
        (TOGETHER, {"response_format": "flac"}, "response_format"),
    ],
)
def test_what_a_server_cannot_do_is_refused(server: AudioServer, fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        speech_body(server, speech(**fields))
    assert caught.value.param == param


async def test_togethers_events_are_unwrapped_however_they_are_cut() -> None:
    chunks = [
        b'data: {"object":"x","model":"m","b64":"%b"}\n\n' % base64.b64encode(it) for it in (b"ab", b"cd")
    ]
    stream = b"".join(chunks) + b"data: [DONE]\n\n"
    for size in (1, 7, 1000):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        upstream = Canned(streamed=pieces)
        call = speech(response_format="raw")
        assert await all_of(dialect(TOGETHER).speak(upstream, call)) == b"abcd"


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", Unavailable),
        (b'data: {"b64":"YWI="}\n\n', Unavailable),
        (b'data: {"b64":"%"}\n\n', Unavailable),
        (b"data: oops\n\n", Unavailable),
        (b'data: {"error":{"message":"busy","code":429}}\n\n', RateLimited),
    ],
)
async def test_a_broken_stream_is_an_error(stream: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        await all_of(dialect(TOGETHER).speak(Canned(streamed=[stream]), speech(response_format="raw")))


def test_the_form_of_a_transcription() -> None:
    call = transcription(language=None, words=True, diarize=True, max_speakers=2, prompt="p", max_audio_s=9.0)
    assert transcription_fields(OURS, call) == [
        ("model", "m"),
        ("response_format", "verbose_json"),
        ("temperature", "0.0"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
        ("max_duration_s", "9.0"),
        ("prompt", "p"),
        ("diarize", "true"),
        ("max_speakers", "2"),
    ]
    assert ("language", "auto") in transcription_fields(TOGETHER, transcription())
    assert ("language", "de") in transcription_fields(OPENAI, transcription(language="de"))
    with pytest.raises(InvalidRequest):
        transcription_fields(OPENAI, call)


class Uploads(Canned):
    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        self.asked.append((path, {"type": content_type, "body": body}))
        return b"".join(self.pieces)


@pytest.mark.parametrize(
    ("filename", "shown"),
    [("a b.wav", "audio.wav"), ('x".ö', "audio"), ("", "audio"), ('a.w"\r\nb', "audio")],
)
async def test_the_file_goes_by_its_ending(filename: str, shown: str) -> None:
    upstream = Uploads(pieces=[b'{"text":"Hi"}'])
    call = transcription(filename=filename, task="translate")
    assert (await dialect(OPENAI).transcribe(upstream, call)).text == "Hi"
    path, sent = upstream.asked[0]
    head, file, tail = sent["body"]
    assert path == "/v1/audio/translations" and file == Path("/a")
    assert f'filename="{shown}"\r\n'.encode() in head
    boundary = sent["type"].partition("boundary=")[2]
    assert head.count(boundary.encode()) == 5 and tail == f"\r\n--{boundary}--\r\n".encode()


def test_transcripts_of_other_servers() -> None:
    body = {
        "text": "Hi",
        "duration": "2.5",
        "language": "en",
        "segments": [{"id": 0, "seek": 0, "start": 0, "end": 2.5, "text": "Hi", "tokens": [1]}],
        "words": None,
    }
    heard = read_transcript(msgspec.json.encode(body))
    assert (heard.duration_s, heard.words, heard.segments[0].end) == (2.5, None, 2.5)
    for wrong in (b"", b"[]", b"{}", b'{"text":"a","segments":[{}]}'):
        with pytest.raises(Unavailable):
            read_transcript(wrong)


async def test_a_session_is_lines_in_and_messages_out() -> None:
    lines = (
        b'{"type":"opened","session":"s"}\n{"type":"delta","text":"Hi"}\n{"type":"completed","text":"Hi!"}\n'
    )
    sessions = RealtimeSessions()
    for size in (1, 10, 1000):
        upstream = Canned(streamed=[lines[start : start + size] for start in range(0, len(lines), size)])
        events = [it async for it in sessions.listen(upstream, RealtimeCall(model=model(), language="en"))]
        assert events == [Opened("s"), Delta("Hi"), Completed("Hi!")]
        path, body = upstream.asked[0]
        assert path == "/realtime" and body["turn_detection"]["min_silence_duration_ms"] == 500
    upstream = Canned([b"{}"])
    await sessions.send(upstream, "s", Append("AA=="))
    assert upstream.asked == [("/realtime/s", {"type": "append", "audio": "AA=="})]
    with pytest.raises(Unavailable):
        _ = [it async for it in sessions.listen(Canned(streamed=[b"oops\n"]), RealtimeCall(model=model()))]
