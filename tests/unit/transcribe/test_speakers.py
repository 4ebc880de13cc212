"""Who speaks when."""

from collections.abc import Sequence

import numpy as np
import pytest

from tutti.workers.transcribe.answers import answer
from tutti.workers.transcribe.languages import LANGUAGES
from tutti.workers.transcribe.speakers import Speakers, Windows, tell_apart
from tutti.workers.transcribe.whisper import Segment, Word

STEP_S, WINDOW_S = 0.4, 1.6


def windows(who: Sequence[int], spread: float = 0.45, seed: int = 1) -> Windows:
    """One window a step, of voices that are as alike as real ones: 0.8 to themselves, 0.6 to others."""
    random = np.random.default_rng(seed)
    voices = random.normal(size=(max(who, default=0) + 1, 256)) + random.normal(size=256) * 1.3
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    found = Windows()
    for index, speaker in enumerate(who):
        vector = voices[speaker] + random.normal(size=256) * spread / 16
        found.vectors.append((vector / np.linalg.norm(vector)).astype(np.float32))
        found.spans.append((index * STEP_S, index * STEP_S + WINDOW_S))
    return found


def heard(found: Speakers | None, who: Sequence[int]) -> list[int]:
    assert found is not None
    centres = [index * STEP_S + WINDOW_S / 2 for index in range(len(who))]
    return [found.at(centre - 0.1, centre + 0.1) for centre in centres]


def agreement(found: Sequence[int], who: Sequence[int]) -> float:
    pairs = [(a, b) for a in range(len(who)) for b in range(a)]
    return sum((found[a] == found[b]) == (who[a] == who[b]) for a, b in pairs) / len(pairs)


@pytest.mark.parametrize("people", [1, 2, 3, 5])
def test_people_are_counted_and_told_apart(people: int) -> None:
    who = [index // 12 % people for index in range(120)]
    found = heard(tell_apart(windows(who), None, None), who)
    assert len(set(found)) == people
    assert agreement(found, who) > 0.95


def test_most_and_least_are_kept() -> None:
    who = [index // 12 % 4 for index in range(96)]
    for least, most, expected in ((None, 2, 2), (None, 3, 3), (6, None, 6), (2, 2, 2), (None, 1, 1)):
        found = tell_apart(windows(who), least, most)
        assert found is not None and found.similarity.shape[1] == expected


def test_a_very_long_recording_needs_little_memory() -> None:
    who = [index // 50 % 2 for index in range(6000)]
    assert agreement(heard(tell_apart(windows(who), None, None), who)[::7], who[::7]) > 0.95


def test_nobody_and_somebody_short() -> None:
    assert tell_apart(Windows(), None, None) is None
    assert heard(tell_apart(windows([0]), 2, 3), [0]) == [0]
    assert len(heard(tell_apart(windows([0, 0]), None, None), [0, 0])) == 2


def test_a_word_between_two_turns_goes_to_the_nearer() -> None:
    found = Speakers(np.array([(0.0, 1.6), (5.0, 6.6)]), np.eye(2, dtype=np.float32))
    assert [found.at(t, t) for t in (1.0, 2.0, 4.5, 99.0)] == [0, 0, 1, 1]


def test_speakers_are_named_as_they_first_speak_and_keep_their_words() -> None:
    words = [
        Word(" Hello,", 0.1, 0.4),
        Word(" you.", 0.4, 0.9),
        Word(" Me?", 5.1, 5.6),
        Word(" Yes.", 0.9, 1.2),
    ]
    segments = [Segment(" Hello, you. Me? Yes.", 0.1, 5.6, words)]
    speakers = Speakers(np.array([(0.0, 1.6), (5.0, 6.6)]), np.eye(2, dtype=np.float32)[::-1])
    found = answer("transcribe", "de", 160_000, segments, words=True, diarize=True, speakers=speakers)
    assert (found.language, found.duration, found.text) == ("german", 10.0, "Hello, you. Me? Yes.")
    assert found.words is not None and found.speaker_segments is not None
    assert [word.word for word in found.words] == ["Hello,", "you.", "Me?", "Yes."]
    assert [(s.id, s.speaker_id, s.text, s.start, s.end) for s in found.speaker_segments] == [
        (1, "SPEAKER_00", "Hello, you.", 0.1, 0.9),
        (2, "SPEAKER_01", "Me?", 5.1, 5.6),
        (3, "SPEAKER_00", "Yes.", 0.9, 1.2),
    ]


def test_what_was_not_asked_for_is_left_out() -> None:
    found = answer("transcribe", "en", 0, [], words=False, diarize=False, speakers=None)
    assert (found.words, found.speaker_segments, found.text) == (None, None, "")
    assert answer("transcribe", "en", 0, [], words=False, diarize=True, speakers=None).speaker_segments == []


def test_every_language_has_a_name() -> None:
    assert len(LANGUAGES) == len(set(LANGUAGES.values())) == 100
    assert all(name == name.lower() for name in LANGUAGES.values())
