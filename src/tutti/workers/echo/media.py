"""Computes audio and images without a model."""

import re
import struct
import zlib
from array import array
from email.parser import BytesParser
from email.policy import HTTP
from math import pi, sin
from typing import Any

SAMPLE_RATE = 24_000
_SECONDS_A_CHARACTER = 0.02
_LANGUAGES = {"": "english", "en": "english", "de": "german"}


def tone(text: str, voice: str, rate: int) -> "array[float]":
    """Return the samples of a sine tone, from -1 to 1. The voice sets the pitch, the text the length."""
    pitch = 200 + zlib.crc32(voice.encode()) % 400
    count = int(rate * _SECONDS_A_CHARACTER * max(1, len(text)))
    return array("f", [0.4 * sin(2 * pi * pitch * index / rate) for index in range(count)])


def samples(wave: "array[float]", encoding: str) -> bytes:
    """Encode samples. Raises ValueError for an encoding that only real engines know."""
    if encoding == "pcm_f32le":
        return wave.tobytes()
    if encoding == "pcm_s16le":
        return array("h", [int(32_767 * value) for value in wave]).tobytes()
    raise ValueError(f"echo does not encode {encoding}")


def wav(wave: "array[float]", rate: int) -> bytes:
    """Return a WAV file (16-bit mono)."""
    data = samples(wave, "pcm_s16le")
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def silent_mp3(seconds: float) -> bytes:
    """Return an MP3 file of silent frames, each of 1152 samples (44.1 kHz, 128 kbit/s)."""
    return (b"\xff\xfb\x90\xc4" + bytes(413)) * max(1, int(seconds * 44_100 / 1152))


def sentences_of(text: str) -> list[str]:
    return [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]


def picture(prompt: str, width: int, height: int) -> bytes:
    """Return a PNG file in one colour, which depends on the prompt."""
    colour = zlib.crc32(prompt.encode()).to_bytes(4, "big")[1:]
    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def form_fields(content_type: str, body: bytes) -> dict[str, bytes]:
    """Return the parts of a multipart/form-data body by name."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"content-type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True) or b"")  # type: ignore[arg-type]
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }


def transcript(audio: bytes, language: str, *, speakers: bool) -> dict[str, Any]:
    """Return a verbose_json transcript whose text only says how many bytes the audio has.

    Each word takes half a second; with `speakers`, two of them take turns.
    """
    text = f"echo of {len(audio)} bytes"
    words = [
        {"word": word, "start": index / 2, "end": (index + 1) / 2}
        | ({"speaker_id": f"SPEAKER_0{index % 2}"} if speakers else {})
        for index, word in enumerate(text.split())
    ]
    answer = {
        "text": text,
        "language": _LANGUAGES.get(language, language),
        "duration": len(words) / 2,
        "segments": [{"id": 0, "start": 0.0, "end": len(words) / 2, "text": text}],
        "words": words,
    }
    return answer | ({"speaker_segments": [_turn(*it) for it in enumerate(words)]} if speakers else {})


def _turn(index: int, word: dict[str, Any]) -> dict[str, Any]:
    times = {name: word[name] for name in ("start", "end", "speaker_id")}
    return {"id": index, "text": word["word"], "words": [word], **times}
