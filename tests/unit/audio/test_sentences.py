"""Where a text that is still being written is cut."""

import pytest

from tutti.features.audio.sentences import cut


@pytest.mark.parametrize(
    ("text", "sentences", "rest"),
    [
        ("Hello there. How are", ["Hello there."], " How are"),
        ("Hello there.", ["Hello there."], ""),
        ("Hello there", [], "Hello there"),
        ("One! Two? Three…", ["One!", "Two?", "Three…"], ""),
        ('She said "no." Then', ['She said "no."'], " Then"),
        ("A line\nand more", ["A line"], "and more"),
        ("你好。再见", ["你好。"], "再见"),
        ("It is 3.", [], "It is 3."),
        ("It was 1990. Then", ["It was 1990."], " Then"),
        ("It is 3.14 today. Yes", ["It is 3.14 today."], " Yes"),
        ("Dr. Who met Mr. X. Then he", [], "Dr. Who met Mr. X. Then he"),
        ("Write to a@b.io now. Ok", ["Write to a@b.io now."], " Ok"),
        ("...", ["..."], ""),
        ("", [], ""),
    ],
)
def test_only_what_seems_whole_is_cut_off(text: str, sentences: list[str], rest: str) -> None:
    assert cut(text, 250) == (sentences, rest)


def test_what_has_no_end_is_cut_at_a_space() -> None:
    sentences, rest = cut("no end of it " * 10, 40)
    assert all(len(one) <= 40 for one in sentences)
    assert " ".join([*sentences, rest]).split() == ("no end of it " * 10).split()
    assert cut("x" * 100, 40) == (["x" * 40, "x" * 40], "x" * 20)


def test_however_it_comes_it_is_all_there() -> None:
    text = "Hello there. How are you? I am 3.5 years old, Mr. Smith! And then " * 3
    for size in (1, 3, 7, 50):
        said, rest = [], ""
        for start in range(0, len(text), size):
            sentences, rest = cut(rest + text[start : start + size], 250)
            said += sentences
        assert "".join("".join([*said, rest]).split()) == "".join(text.split())
