"""Audio through `openai`."""

from pathlib import Path

from audio_checks import FILE, LISTENER, SPEECH, TEXT, expect_wav
from checks import expect, run
from openai import BadRequestError, OpenAI

client = OpenAI()


def check_speech_formats() -> None:
    assert client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart").read()[:2] == b"\xff\xfb"
    expect_wav(
        client.audio.speech.create(model=SPEECH, input=TEXT, voice="heart", response_format="wav").read()
    )
    samples = client.audio.speech.create(
        model=SPEECH, input=TEXT, voice="heart", response_format="pcm"
    ).read()
    assert len(samples) > 1000 and not samples.startswith(b"RIFF")


def check_speech_in_openais_voices() -> None:
    for voice in ("alloy", "nova", "verse"):
        assert client.audio.speech.create(model=SPEECH, input=TEXT, voice=voice).read()[:2] == b"\xff\xfb"


def check_speech_as_it_comes() -> None:
    with client.audio.speech.with_streaming_response.create(
        model=SPEECH, input=TEXT, voice="heart", response_format="pcm", speed=1.0
    ) as answer:
        assert sum(map(len, answer.iter_bytes())) > 1000


def check_transcription() -> None:
    with Path(FILE).open("rb") as file:
        assert client.audio.transcriptions.create(file=file, model=LISTENER).text
        for wanted, head in (("text", ""), ("srt", "1\n00:"), ("vtt", "WEBVTT")):
            file.seek(0)
            text = client.audio.transcriptions.create(file=file, model=LISTENER, response_format=wanted)
            assert isinstance(text, str) and text.startswith(head) and len(text) > 3
        file.seek(0)
        detailed = client.audio.transcriptions.create(
            file=file,
            model=LISTENER,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    assert detailed.words[0].word and detailed.segments and detailed.duration > 0


def check_transcription_stream() -> None:
    with Path(FILE).open("rb") as file:
        events = list(client.audio.transcriptions.create(file=file, model=LISTENER, stream=True))
    assert events[-1].type == "transcript.text.done"
    assert "".join(it.delta for it in events[:-1]) == events[-1].text


def check_translation() -> None:
    with Path(FILE).open("rb") as file:
        assert client.audio.translations.create(file=file, model=LISTENER).text


def check_errors() -> None:
    expect(BadRequestError, lambda: client.audio.speech.create(model=SPEECH, input=" ", voice="heart"))


run(globals())
