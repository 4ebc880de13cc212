"""OpenAI's dialect for sound, as our own workers, Together and other servers speak it.

Each knows different fields, so an engine says which `AudioServer` a model is on: a field that the server does
not know is never sent. If a call cannot do without it, the call is refused; mere preferences are left out.
"""

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.model import Model
from tutti.engines.audio import (
    RealtimeCall,
    RealtimeEvent,
    RealtimeMessage,
    Segment,
    SpeakerSegment,
    SpeechCall,
    Transcript,
    TranscriptionCall,
    Word,
)
from tutti.engines.openai_errors import ErrorBody, error_in_stream
from tutti.engines.sse import EventSplitter
from tutti.engines.upstream import Upstream

Json = dict[str, Any]
Fields = list[tuple[str, str]]
_OPENAI_RATE_HZ = 24_000
_TOGETHER_FORMATS = ("wav", "mp3", "raw")


@dataclass(frozen=True)
class AudioServer:
    """The server of a model; `model` is the model's name there. `tutti`: one of our workers, which knows all
    fields."""

    model: str
    knows: Literal["tutti", "together", "openai"] = "tutti"
    prefix: str = "/v1"


@dataclass(frozen=True)
class AudioDialect:
    """The dialect for speech and transcription; `server` describes the server of a model."""

    server: Callable[[Model], AudioServer]

    def speak(self, upstream: Upstream, call: SpeechCall) -> AsyncIterator[bytes]:
        server = self.server(call.model)
        body = speech_body(server, call)
        pieces = upstream.stream(server.prefix + "/audio/speech", msgspec.json.encode(body))
        return _unwrapped(pieces) if body.get("stream") else pieces

    async def transcribe(self, upstream: Upstream, call: TranscriptionCall) -> Transcript:
        server = self.server(call.model)
        boundary = secrets.token_hex(16)
        body = multipart(boundary, transcription_fields(server, call), call)
        operation = "transcriptions" if call.task == "transcribe" else "translations"
        data = await upstream.upload(
            f"{server.prefix}/audio/{operation}", f"multipart/form-data; boundary={boundary}", body
        )
        return read_transcript(data)


class RealtimeSessions:
    """The dialect for live sessions of our own transcription workers: events are the lines of one long
    answer, messages go on their own."""

    async def listen(self, upstream: Upstream, call: RealtimeCall) -> AsyncIterator[RealtimeEvent]:
        body = {
            "language": call.language,
            "prompt": call.prompt,
            "sample_rate_hz": call.sample_rate_hz,
            "turn_detection": call.turn_detection,
        }
        rest = b""
        async for data in upstream.stream("/realtime", msgspec.json.encode(body)):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield _event(line)

    async def send(self, upstream: Upstream, session: str, message: RealtimeMessage) -> None:
        await upstream.post(f"/realtime/{session}", msgspec.json.encode(message))


# --- speech -----------------------------------------------------------------------------------------------


def speech_body(server: AudioServer, call: SpeechCall) -> Json:
    body: Json = {"model": server.model, "input": call.text, "voice": call.voice}
    if server.knows == "openai":
        return body | _openai_speech(call)
    if server.knows == "together":
        _check_together(call)
        body["stream"] = call.response_format == "raw"
    elif call.speed != 1.0:
        body["speed"] = call.speed
    body |= {"language": call.language, "response_format": call.response_format}
    if call.response_format == "raw":
        body["response_encoding"] = call.response_encoding
    if call.sample_rate_hz is not None:
        body["sample_rate"] = call.sample_rate_hz
    if call.bit_rate is not None:
        body["bit_rate"] = call.bit_rate
    if call.pronunciation:
        body["extra_params"] = {"pronunciation_dict": list(call.pronunciation)}
    return body


def _openai_speech(call: SpeechCall) -> Json:
    if call.response_format == "raw" and call.response_encoding != "pcm_s16le":
        raise _cannot("encode samples as anything but pcm_s16le", "response_encoding")
    if call.sample_rate_hz not in (None, _OPENAI_RATE_HZ):
        raise _cannot("speak at another sample rate than 24000", "sample_rate")
    if call.pronunciation:
        raise _cannot("follow rules of pronunciation", "extra_params")
    form = "pcm" if call.response_format == "raw" else call.response_format
    return {"response_format": form} | ({"speed": call.speed} if call.speed != 1.0 else {})


def _check_together(call: SpeechCall) -> None:
    if call.response_format not in _TOGETHER_FORMATS:
        raise _cannot(f"write {call.response_format}", "response_format")
    if call.speed != 1.0:
        raise _cannot("speak faster or slower", "speed")


def _cannot(what: str, param: str) -> InvalidRequest:
    return InvalidRequest(f"This model's engine cannot {what}.", param=param)


class _Chunk(msgspec.Struct):
    b64: str = ""
    error: ErrorBody | str | None = None


async def _unwrapped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the audio in Together's events. Raises Unavailable for a stream that ends without [DONE]: it was
    broken off."""
    splitter = EventSplitter()
    async for data in pieces:
        for payload in splitter.feed(data):
            if payload == b"[DONE]":
                return
            yield _samples(payload)
    raise Unavailable("The model's engine ended its answer too early.", retry_after_s=1)


def _samples(payload: bytes) -> bytes:
    try:
        chunk = msgspec.json.decode(payload, type=_Chunk)
        if chunk.error is not None:
            raise error_in_stream(chunk.error)
        return base64.b64decode(chunk.b64, validate=True)
    except ValueError as error:
        raise _unreadable() from error


# --- transcription ----------------------------------------------------------------------------------------


def transcription_fields(server: AudioServer, call: TranscriptionCall) -> Fields:
    fields: Fields = [
        ("model", server.model),
        ("response_format", "verbose_json"),
        ("temperature", str(call.temperature)),
        *_timestamps(server, call),
    ]
    language = call.language or ("auto" if server.knows == "together" else None)
    if language and call.task == "transcribe":
        fields.append(("language", language))
    if server.knows == "tutti" and call.max_audio_s is not None:
        fields.append(("max_duration_s", str(call.max_audio_s)))
    if call.prompt:
        fields.append(("prompt", call.prompt))
    return fields + (list(_speakers(server, call)) if call.diarize else [])


def _timestamps(server: AudioServer, call: TranscriptionCall) -> Fields:
    name = "timestamp_granularities" + ("" if server.knows == "together" else "[]")
    return [(name, value) for value in (("segment", "word") if call.words else ("segment",))]


def _speakers(server: AudioServer, call: TranscriptionCall) -> Iterator[tuple[str, str]]:
    if server.knows == "openai":
        raise _cannot("tell speakers apart", "diarize")
    yield "diarize", "true"
    if call.min_speakers is not None:
        yield "min_speakers", str(call.min_speakers)
    if call.max_speakers is not None:
        yield "max_speakers", str(call.max_speakers)


def multipart(boundary: str, fields: Fields, call: TranscriptionCall) -> Sequence[bytes | Path]:
    """Return the pieces of the form. The file keeps the ending of its name, by which some servers know the
    format."""
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    suffix = PurePosixPath(call.filename).suffix
    name = "audio" + (suffix if suffix[1:].isalnum() and suffix.isascii() else "")
    parts.append(
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    return ["".join(parts).encode(), call.audio, f"\r\n--{boundary}--\r\n".encode()]


class _Answer(msgspec.Struct):
    text: str
    language: str | None = None
    duration: float | None = None
    segments: tuple[Segment, ...] | None = None
    words: tuple[Word, ...] | None = None
    speaker_segments: tuple[SpeakerSegment, ...] | None = None


def read_transcript(data: bytes) -> Transcript:
    """Read an answer of verbose_json; OpenAI writes the duration as a string. Raises Unavailable."""
    try:
        answer = msgspec.json.decode(data, type=_Answer, strict=False)
    except ValueError as error:
        raise _unreadable() from error
    return Transcript(
        text=answer.text,
        language=answer.language or "english",
        duration_s=answer.duration or 0.0,
        segments=answer.segments or (),
        words=answer.words,
        speaker_segments=answer.speaker_segments,
    )


def _event(line: bytes) -> RealtimeEvent:
    try:
        return msgspec.json.decode(line, type=RealtimeEvent)
    except ValueError as error:
        raise _unreadable() from error


def _unreadable() -> Unavailable:
    return Unavailable("The model's engine sent an answer that cannot be read.", retry_after_s=1)
