"""A transcript in each format."""

import msgspec

from tutti.engines.audio import Segment, SpeakerSegment, Transcript, Word
from tutti.features.audio.formats import written

WORDS = (Word("Hello", 0.0, 0.5, "SPEAKER_00"), Word("you", 3599.9994, 3661.5))
SEGMENTS = (Segment(0, 0.0, 0.5, " Hello"), Segment(1, 3599.9994, 3661.5, " --> you"))
PLAIN = Transcript(text="Hello you", language="english", duration_s=3661.5, segments=SEGMENTS)


def test_subtitles() -> None:
    assert written(PLAIN, "srt", "transcribe").decode() == (
        "1\n00:00:00,000 --> 00:00:00,500\nHello\n\n2\n00:59:59,999 --> 01:01:01,500\n--> you\n"
    )
    assert written(PLAIN, "vtt", "transcribe").decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nHello\n\n00:59:59.999 --> 01:01:01.500\n-> you\n"
    )


def test_speakers_are_in_every_json() -> None:
    turns = (SpeakerSegment(0, "SPEAKER_00", 0.0, 0.5, "Hello", WORDS[:1]),)
    both = msgspec.structs.replace(PLAIN, words=WORDS, speaker_segments=turns)
    for form in ("json", "verbose_json"):
        body = msgspec.json.decode(written(both, form, "transcribe"))
        assert body["words"][0]["speaker_id"] == body["speaker_segments"][0]["speaker_id"] == "SPEAKER_00"
        assert "speaker_id" not in body["words"][1]
    assert msgspec.json.decode(written(PLAIN, "json", "transcribe")) == {"text": "Hello you"}


def test_nothing_was_said() -> None:
    silence = Transcript(text="", language="english", duration_s=1.0)
    assert written(silence, "srt", "transcribe") == b""
    assert written(silence, "vtt", "transcribe") == b"WEBVTT\n"
    assert msgspec.json.decode(written(silence, "verbose_json", "translate"))["segments"] == []
