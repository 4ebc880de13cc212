"""What the audio scripts share. The fourth argument is a WAV file; the model of speech comes first."""

import sys
import wave

SPEECH, LISTENER, FILE = sys.argv[1], sys.argv[2], sys.argv[5]
TEXT = "Hello there. How are you?"


def samples() -> bytes:
    with wave.open(FILE) as file:
        return file.readframes(file.getnframes())


def expect_wav(data: bytes) -> None:
    assert data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") == len(data) - 8
