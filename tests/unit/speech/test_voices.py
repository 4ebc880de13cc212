"""Mixes of voices, and which English is spoken."""

import pytest

from tutti.workers.http import Refused
from tutti.workers.speech.kokoro import mixed
from tutti.workers.speech.phonemes import MOST_PHONEMES, Phonemes, check_language


@pytest.fixture(scope="module")
def phonemes() -> Phonemes:
    return Phonemes()


def test_voices_are_mixed_by_weight() -> None:
    assert mixed("af_bella(2)+af_heart(1)") == {"af_bella": 2, "af_heart": 1}
    assert mixed(" af_bella + af_heart( 0.5 ) ") == {"af_bella": 1, "af_heart": 0.5}
    assert mixed("af_heart+af_heart(2)") == {"af_heart": 3}


@pytest.mark.parametrize(
    "voice", ["", "+", "a+", "a(", "a()", "a(0)", "a(-1)", "a(1e9)", "a(nan)", "a b", "é", "+".join("a" * 17)]
)
def test_what_is_no_mix_is_refused(voice: str) -> None:
    with pytest.raises(Refused, match="mix") as refused:
        mixed(voice)
    assert refused.value.param == "voice"


@pytest.mark.parametrize("language", ["en", "en-us", "EN_GB", "eng", "en-Latn-AU"])
def test_english_of_every_region_is_taken(language: str) -> None:
    check_language(language)


@pytest.mark.parametrize("language", ["fr", "", "english", "zh-hk"])
def test_other_languages_are_refused(language: str) -> None:
    with pytest.raises(Refused, match="English only") as refused:
        check_language(language)
    assert refused.value.param == "language"


def test_american_and_british_phonemes(phonemes: Phonemes) -> None:
    assert list(phonemes.of("Hello there.", british=False)) == ["həlˈO ðˈɛɹ."]
    assert list(phonemes.of("Hello there.", british=True)) == ["həlˈQ ðˈɛː."]


@pytest.mark.parametrize("text", ["", "…", " ?! ", "\0", "— —"])
def test_what_cannot_be_said_has_none(phonemes: Phonemes, text: str) -> None:
    assert list(phonemes.of(text, british=False)) == []


def test_what_the_package_fails_on_is_spelled(phonemes: Phonemes) -> None:
    assert next(phonemes.of("Hello toǅ1,\x1b1İiPhone there.", british=False)).endswith("ðˈɛɹ.")
    spelled = " ".join(phonemes.of("Call 1234567890123456789012345678901234567890!", british=False))
    assert spelled.count("θɹˈi") == 4


def test_long_words_are_cut_to_what_a_model_takes(phonemes: Phonemes) -> None:
    parts = list(phonemes.of("1234567890" * 20, british=False))
    assert len(parts) > 1
    assert max(map(len, parts)) <= MOST_PHONEMES
