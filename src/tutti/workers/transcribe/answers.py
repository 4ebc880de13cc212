"""Builds the response of a transcription: verbose_json, as the API describes it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from tutti.workers.transcribe.languages import LANGUAGES
from tutti.workers.transcribe.samples import RATE_HZ
from tutti.workers.transcribe.speakers import Speakers
from tutti.workers.transcribe.whisper import Segment, Word


class SegmentAnswer(msgspec.Struct):
    id: int
    start: float
    end: float
    text: str


class WordAnswer(msgspec.Struct, omit_defaults=True):
    word: str
    start: float
    end: float
    speaker_id: str | None = None


class SpeakerAnswer(msgspec.Struct):
    id: int
    speaker_id: str
    start: float
    end: float
    text: str
    words: list[WordAnswer]


class Answer(msgspec.Struct, omit_defaults=True):
    task: str
    language: str
    duration: float
    text: str
    segments: list[SegmentAnswer]
    words: list[WordAnswer] | None = None
    speaker_segments: list[SpeakerAnswer] | None = None


def answer(
    task: str,
    language: str,
    duration: int,
    segments: Sequence[Segment],
    *,
    words: bool,
    diarize: bool,
    speakers: Speakers | None,
) -> Answer:
    """Build the response. `language` is a code, `duration` counts samples.

    `speakers` is None if no speech was found.
    """
    spoken = [(word, _speaker(word, speakers)) for segment in segments for word in segment.words]
    named = list(_named(spoken)) if diarize else [(word, None) for word, _ in spoken]
    return Answer(
        task=task,
        language=LANGUAGES.get(language, language),
        duration=round(duration / RATE_HZ, 3),
        text="".join(segment.text for segment in segments).strip(),
        segments=[SegmentAnswer(i, s.start, s.end, s.text.strip()) for i, s in enumerate(segments)],
        words=[_word(word, name) for word, name in named] if words or diarize else None,
        speaker_segments=_speaker_segments(named) if diarize else None,
    )


def _speaker(word: Word, speakers: Speakers | None) -> int:
    return speakers.at(word.start, word.end) if speakers is not None else 0


def _named(spoken: Sequence[tuple[Word, int]]) -> Iterator[tuple[Word, str | None]]:
    """Yield each word with its speaker's name.

    Speakers are numbered in the order in which they first speak.
    """
    numbers: dict[int, int] = {}
    for word, speaker in spoken:
        yield word, f"SPEAKER_{numbers.setdefault(speaker, len(numbers)):02}"


def _word(word: Word, speaker_id: str | None) -> WordAnswer:
    return WordAnswer(word.text.strip(), word.start, word.end, speaker_id)


def _speaker_segments(named: Sequence[tuple[Word, str | None]]) -> list[SpeakerAnswer]:
    """Return the speaker segments: the consecutive words of one speaker make one segment."""
    segments: list[SpeakerAnswer] = []
    for speaker_id, group in groupby(named, key=lambda pair: pair[1]):
        spoken = [word for word, _ in group]
        text = "".join(word.text for word in spoken).strip()
        words = [_word(word, speaker_id) for word in spoken]
        start, end = spoken[0].start, spoken[-1].end
        segments.append(SpeakerAnswer(len(segments) + 1, speaker_id or "", start, end, text, words))
    return segments
