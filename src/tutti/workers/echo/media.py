"""Sound and pictures made of arithmetic."""

import struct
import zlib
from array import array
from email.parser import BytesParser
from email.policy import HTTP
from math import pi, sin

SAMPLE_RATE = 24_000
_SECONDS_A_CHARACTER = 0.02


def speech(text: str, voice: str) -> bytes:
    """A WAV file (16-bit mono): a tone whose pitch is the voice and whose length is the text's."""
    pitch = 200 + zlib.crc32(voice.encode()) % 400
    count = int(SAMPLE_RATE * _SECONDS_A_CHARACTER * max(1, len(text)))
    wave = array("h", [int(12_000 * sin(2 * pi * pitch * index / SAMPLE_RATE)) for index in range(count)])
    data = wave.tobytes()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def picture(prompt: str, width: int, height: int) -> bytes:
    """A PNG in one colour, which is the prompt's."""
    colour = zlib.crc32(prompt.encode()).to_bytes(4, "big")[1:]
    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def form_fields(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts of a multipart/form-data body by name."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"content-type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True) or b"")  # type: ignore[arg-type]
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }


def transcript(audio: bytes) -> str:
    """What the fake engine hears: only how much there is."""
    return f"echo of {len(audio)} bytes"
