"""Speech from a text: the request as a call of an engine, and the audio as bytes or as events."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import MappingProxyType

import msgspec

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.engines.audio import SampleEncoding, SpeechCall, SpeechFormat
from tutti.features.audio.schemas import AudioSpeechRequest
from tutti.features.audio.service import in_chunks, spoken
from tutti.features.audio.voices import voice_of
from tutti.features.metered import metered
from tutti.http.context import Family
from tutti.platform import Platform

CONTENT_TYPES = MappingProxyType(
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
_SAMPLE_BYTES = MappingProxyType({"pcm_f32le": 4, "pcm_s16le": 2, "pcm_mulaw": 1, "pcm_alaw": 1})
_OPENAI_RATE_HZ = 24_000
_EVENT_BYTES = 24_000
"""Bytes of audio in one event: a line of the stream then stays below the 64 KB that some clients can take."""


def speech_call(settings: Settings, family: Family, model: Model, body: AudioSpeechRequest) -> SpeechCall:
    """Return the call for a request to `model`. Raise InvalidRequest if the text is empty or too long.

    Together streams samples only, whatever format the request names. The 1.x client names wav, and an
    encoding that it does not expect: so `response_encoding` counts only where the format is raw or pcm.
    """
    openai = family == "openai" or body.stream_format is not None
    voice = voice_of(model, body.voice, settings.voice_aliases)
    if not body.input.strip():
        raise InvalidRequest("There is nothing to say: the text is empty.", param="input")
    if len(body.input) > settings.max_speech_chars:
        most = settings.max_speech_chars
        raise InvalidRequest(f"The text is longer than {most} characters.", param="input")
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
        response_format="raw" if samples or streams else msgspec.convert(named, SpeechFormat),
        response_encoding=encoding,
        sample_rate_hz=rate,
        bit_rate=body.bit_rate if named == "mp3" else None,
        pronunciation=tuple(extra or ()),
    )


async def audio(platform: Platform, who: Caller, call: SpeechCall) -> AsyncGenerator[bytes]:
    """Yield the audio as it is made, and record the request."""
    with metered(platform.meter, who, call.model, "speech") as tally:
        async with aclosing(spoken(platform, call, who.project_id)) as pieces:
            async for piece in pieces:
                tally.piece()
                yield piece


async def joined(pieces: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


# --- events -------------------------------------------------------------------------------------------------


async def together_events(
    pieces: AsyncGenerator[bytes], call: SpeechCall, name: str
) -> AsyncGenerator[bytes]:
    """Yield the audio as Together's events. `name` is what the client calls the model."""
    async with aclosing(_base64(pieces, call)) as chunks:
        async for chunk in chunks:
            yield _event({"object": "audio.tts.chunk", "model": name, "b64": chunk})
    yield b"data: [DONE]\n\n"


async def openai_events(pieces: AsyncGenerator[bytes], call: SpeechCall) -> AsyncGenerator[bytes]:
    """Yield the audio as OpenAI's events."""
    async with aclosing(_base64(pieces, call)) as chunks:
        async for chunk in chunks:
            yield _event({"type": "speech.audio.delta", "audio": chunk})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield _event({"type": "speech.audio.done", "usage": usage})


async def _base64(pieces: AsyncGenerator[bytes], call: SpeechCall) -> AsyncGenerator[str]:
    width = _SAMPLE_BYTES[call.response_encoding] if call.response_format == "raw" else 1
    async with aclosing(pieces):
        async for chunk in in_chunks(pieces, _EVENT_BYTES, width):
            yield base64.b64encode(chunk).decode()


def _event(event: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)
