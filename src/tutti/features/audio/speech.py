"""POST /audio/speech: the request as a call, and its audio as the answer's body."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import MappingProxyType

import msgspec
from fastapi import Request, Response

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.engines.audio import SampleEncoding, SpeechCall, SpeechFormat
from tutti.features.audio.schemas import AudioSpeechRequest
from tutti.features.audio.service import in_chunks, speaker, spoken
from tutti.features.audio.voices import voice_of
from tutti.features.metered import metered
from tutti.http.context import caller, family
from tutti.http.stream import ByteStream, event_stream, while_connected
from tutti.platform import Platform

_TYPES = MappingProxyType(
    {
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "raw": "application/octet-stream",
        "opus": "audio/ogg",
        "flac": "audio/flac",
        "aac": "audio/aac",
    }
)
"""Without parameters: the 1.x client would take anything else for text."""
_WIDTHS = MappingProxyType({"pcm_f32le": 4, "pcm_s16le": 2, "pcm_mulaw": 1, "pcm_alaw": 1})
_OPENAI_RATE_HZ = 24_000
_EVENT_BYTES = 24_000
"""Of audio in one event: a line of the stream then stays below the 64 KB that some clients can take."""


async def speech(platform: Platform, request: Request, body: AudioSpeechRequest) -> Response:
    model = await speaker(platform, body.model, caller(request).project_id)
    request.scope["state"]["model"] = model.name
    openai = family(request) == "openai" or body.stream_format is not None
    voice = voice_of(model, body.voice, platform.settings.voice_aliases)
    call = call_of(body, model, voice, openai=openai)
    if len(call.text) > platform.settings.max_speech_chars:
        most = platform.settings.max_speech_chars
        raise InvalidRequest(f"The text is longer than {most} characters.", param="input")
    if body.stream_format == "sse":
        return _events(platform, _openai_events(platform, request, call))
    if body.stream and body.stream_format is None:
        return _events(platform, _together_events(platform, request, call, body.model))
    pieces = _metered(platform, request, call)
    if call.response_format == "wav":  # comes whole: its length is known
        return Response(await while_connected(request, _joined(pieces)), media_type=_TYPES["wav"])
    return ByteStream(pieces, _TYPES[call.response_format])


def call_of(body: AudioSpeechRequest, model: Model, voice: str, *, openai: bool) -> SpeechCall:
    """Together streams samples only, whatever format is named; the 1.x client names wav, and an encoding that
    it does not expect: of other formats than raw, none is meant to be."""
    if not body.input.strip():
        raise InvalidRequest("There is nothing to say: the text is empty.", param="input")
    named = body.response_format or ("mp3" if openai else "wav")
    samples = named in ("raw", "pcm")
    streams = bool(body.stream) and body.stream_format is None
    rate = body.sample_rate or (_OPENAI_RATE_HZ if named == "pcm" else None)
    encoding: SampleEncoding = (body.response_encoding if samples else None) or "pcm_s16le"
    extra = body.extra_params.pronunciation_dict if body.extra_params else None
    return SpeechCall(
        model=model,
        text=body.input,
        voice=voice,
        language=(body.language or "en").lower(),
        speed=body.speed or 1.0,
        response_format="raw" if samples or streams else _format(named),
        response_encoding=encoding,
        sample_rate_hz=rate,
        bit_rate=body.bit_rate if named == "mp3" else None,
        pronunciation=tuple(extra or ()),
    )


def _format(named: str) -> SpeechFormat:
    return msgspec.convert(named, SpeechFormat)


async def _metered(platform: Platform, request: Request, call: SpeechCall) -> AsyncGenerator[bytes]:
    with metered(platform.meter, caller(request), call.model, "speech") as tally:
        async with aclosing(spoken(platform, call, caller(request).project_id)) as pieces:
            async for piece in pieces:
                tally.piece()
                yield piece


async def _joined(pieces: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


# --- events -------------------------------------------------------------------------------------------------


def _events(platform: Platform, frames: AsyncGenerator[bytes]) -> Response:
    return event_stream(frames, early_headers_s=platform.settings.early_headers_s)


async def _base64(platform: Platform, request: Request, call: SpeechCall) -> AsyncGenerator[str]:
    width = _WIDTHS[call.response_encoding] if call.response_format == "raw" else 1
    pieces = _metered(platform, request, call)
    async with aclosing(pieces):
        async for chunk in in_chunks(pieces, _EVENT_BYTES, width):
            yield base64.b64encode(chunk).decode()


async def _together_events(
    platform: Platform, request: Request, call: SpeechCall, name: str
) -> AsyncGenerator[bytes]:
    async with aclosing(_base64(platform, request, call)) as chunks:
        async for chunk in chunks:
            yield _data({"object": "audio.tts.chunk", "model": name, "b64": chunk})
    yield b"data: [DONE]\n\n"


async def _openai_events(platform: Platform, request: Request, call: SpeechCall) -> AsyncGenerator[bytes]:
    async with aclosing(_base64(platform, request, call)) as chunks:
        async for chunk in chunks:
            yield _data({"type": "speech.audio.delta", "audio": chunk})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield _data({"type": "speech.audio.done", "usage": usage})


def _data(event: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)
