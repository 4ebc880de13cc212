"""Audio through `together` 1.5."""

import tempfile
import wave
from pathlib import Path

from audio_checks import FILE, LISTENER, SPEECH, TEXT, expect_wav
from checks import expect, run
from together import Together
from together.error import InvalidRequestError

client = Together()


def check_speech_formats() -> None:
    for wanted, head in (("wav", b"RIFF"), ("mp3", b"\xff\xfb"), ("raw", b"")):
        answer = client.audio.speech.create(
            model=SPEECH, input=TEXT, voice="heart", response_format=wanted, response_encoding="pcm_s16le"
        )
        data = answer.response.data
        assert isinstance(data, bytes) and data.startswith(head) and len(data) > 1000
    expect_wav(client.audio.speech.create(model=SPEECH, input=TEXT).response.data)


def check_speech_stream() -> None:
    """The client makes a WAV file of the samples: 16 bits at 24 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "said.wav")
        client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart", stream=True).stream_to_file(
            target
        )
        with wave.open(target) as file:
            streamed = file.readframes(file.getnframes())
    whole = client.audio.speech.create(
        model=SPEECH, input=TEXT, voice="heart", response_format="raw", response_encoding="pcm_s16le"
    )
    assert streamed == whole.response.data


def check_transcription() -> None:
    heard = client.audio.transcriptions.create(file=FILE, model=LISTENER, language="en")
    assert heard.text
    both = ["word", "segment"]
    timed = client.audio.transcriptions.create(
        file=FILE, model=LISTENER, response_format="verbose_json", timestamp_granularities=both
    )
    assert timed.words and timed.segments
    with Path(FILE).open("rb") as file:
        detailed = client.audio.transcriptions.create(
            file=file,
            model=LISTENER,
            response_format="verbose_json",
            timestamp_granularities="word",
            diarize=True,
        )
    assert detailed.language == "english" and detailed.duration > 0
    assert detailed.words[0].speaker_id and detailed.speaker_segments[0].words


def check_translation() -> None:
    assert client.audio.translations.create(file=FILE, model=LISTENER).text
    detailed = client.audio.translations.create(file=FILE, model=LISTENER, response_format="verbose_json")
    assert detailed.segments


def check_voices() -> None:
    listed = {it.model: it.voices for it in client.audio.voices.list().data}
    assert listed[SPEECH][0]["name"]


def check_errors() -> None:
    expect(InvalidRequestError, lambda: client.audio.speech.create(model=SPEECH, input=" "))
    expect(
        InvalidRequestError,
        lambda: client.audio.transcriptions.create(file="http://127.0.0.1/a.wav", model=LISTENER),
    )


run(globals())
