import itertools

from hypothesis import given
from hypothesis import strategies as st

from tutti.features.text.thinking import Thinking

FRAGMENTS = st.sampled_from(
    ["<think>", "</think>", "<thi", "nk>", "</", "think>", " ", "\n", "a", "<b>", "{", "`"]
)
TEXTS = st.lists(FRAGMENTS, max_size=12).map("".join)


def split(pieces: list[str], anywhere: bool) -> tuple[str, str]:
    thinking = Thinking(anywhere)
    passages = [passage for piece in pieces for passage in thinking.feed(piece)] + thinking.finish()
    assert all(passage.text for passage in passages)
    return tuple(
        "".join(passage.text for passage in passages if passage.kind == kind)
        for kind in ("reasoning", "content")
    )


@given(TEXTS, st.booleans(), st.lists(st.integers(0, 60)))
def test_how_text_is_cut_makes_no_difference(text: str, anywhere: bool, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert split(pieces, anywhere) == split([text], anywhere) == split(list(text), anywhere)


@given(st.text().filter(lambda text: "<think>" not in text), st.booleans())
def test_text_without_thoughts_is_unchanged(text: str, anywhere: bool) -> None:
    assert split(list(text), anywhere) == ("", text)


def test_a_thought_is_taken_out_with_its_white_space() -> None:
    assert split(["<think>\nHm. 9.9\n</think>\n\n**9.9**\n"], anywhere=True) == ("Hm. 9.9", "**9.9**\n")


def test_an_unfinished_thought_is_all_reasoning() -> None:
    assert split(["<think>one ", "two </thi"], anywhere=False) == ("one two </thi", "")


def test_an_empty_thought_leaves_no_reasoning() -> None:
    assert split(["<think>\n\n</think>\n\nYes"], anywhere=True) == ("", "Yes")


def test_a_model_that_does_not_reason_may_write_the_tag_in_its_answer() -> None:
    assert split(["Use <think>x</think>"], anywhere=False) == ("", "Use <think>x</think>")
    assert split(["Use <think>x</think>y"], anywhere=True) == ("x", "Use y")


def test_a_tag_that_is_only_mentioned_is_text() -> None:
    said = "Write `<think>` and then `</think>`."
    assert split(list(said), anywhere=True) == ("", said)
    assert split(list("<think>I close it by `</think>`.</think>Done"), anywhere=True) == (
        "I close it by `</think>`.",
        "Done",
    )


def test_the_end_of_a_thought_that_never_began_is_left_out() -> None:
    assert split(list("so </think>\n\nYes"), anywhere=True) == ("", "so \n\nYes")
    assert split(["so </think>"], anywhere=False) == ("", "so </think>")


def test_thoughts_are_streamed_as_they_come() -> None:
    thinking = Thinking(anywhere=True)
    assert thinking.feed("<think>abc") == [("reasoning", "abc")]
    assert thinking.feed(" d</th") == [("reasoning", " d")]
    assert thinking.feed("ink> e") == [("content", "e")]
    assert thinking.feed("f <") == [("content", "f ")]


def test_a_thinker_is_idle_once_its_only_thought_is_over() -> None:
    thinking = Thinking(anywhere=False)
    assert not thinking.idle
    thinking.feed("<think>a</think>")
    assert not thinking.idle
    thinking.feed(" b")
    assert thinking.idle
