"""How text is cut before it is spoken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.budget import examples

from tutti.workers.http import Refused
from tutti.workers.speech.pieces import MOST_CHARACTERS, pieces, pronounced

LONG = "A sentence without a single stop or comma " * 20


def test_each_sentence_is_a_piece() -> None:
    text = "Dr. Smith paid $3.50 for it. Was that much? No!\n\nHe left"
    assert list(pieces(text)) == ["Dr. Smith paid $3.50 for it.", "Was that much?", "No!", "He left"]


def test_a_long_first_sentence_begins_with_a_short_piece() -> None:
    text = "When the sun had gone down over the hills, they lit a fire and sat around it until it was day."
    assert next(pieces(text)) == "When the sun had gone down over the hills,"
    assert [*pieces("So. " + text)] == ["So.", text]


def test_a_sentence_without_end_is_cut_between_words() -> None:
    found = list(pieces(LONG))
    assert max(map(len, found)) <= MOST_CHARACTERS
    assert " ".join(found).split() == LONG.split()


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=2000))
def test_nothing_that_is_seen_gets_lost(text: str) -> None:
    found = list(pieces(text))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= MOST_CHARACTERS for piece in found)


def test_whole_words_are_replaced_whatever_their_case() -> None:
    rules = ["omg/oh my god", "C++/see plus plus", "NY/New York", "New York/no"]
    assert pronounced("OMG, omgs in NY: c++!", rules) == "oh my god, omgs in New York: see plus plus!"


def test_the_longest_rule_wins_and_slashes_may_follow() -> None:
    assert pronounced("AC DC or AC", ["AC/a/c", "AC DC/ay see dee see"]) == "ay see dee see or a/c"


@pytest.mark.parametrize("rule", ["omg", "", "/oh", "omg/", " / "])
def test_a_rule_of_another_form_is_refused(rule: str) -> None:
    with pytest.raises(Refused, match="pronunciation_dict") as refused:
        pronounced("text", [rule])
    assert refused.value.param == "extra_params"
