"""Where speech begins and ends."""

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.budget import examples

from tutti.workers.transcribe.turns import Limits, Turn, Turns
from tutti.workers.transcribe.vad import FRAME

LIMITS = Limits()
MS = 16  # samples
QUIET, SPEECH = 0.01, 0.9


def frames(seconds: float, probability: float) -> list[float]:
    return [probability] * round(seconds * 16_000 / FRAME)


def turns_of(probabilities: Sequence[float], limits: Limits = LIMITS) -> list[Turn]:
    turns = Turns(limits)
    found = [turns.feed(probability) for probability in probabilities]
    return [turn for turn in [*found, turns.finish()] if turn is not None]


def test_nobody_speaks() -> None:
    assert turns_of(frames(10, QUIET)) == []


def test_a_turn_ends_once_it_was_quiet_for_long_enough() -> None:
    turns = Turns(LIMITS)
    before = [turns.feed(p) for p in frames(1, QUIET) + frames(2, SPEECH) + frames(0.48, QUIET)]
    assert before == [None] * len(before)
    assert turns.start is not None
    turn = turns.feed(QUIET)
    assert turn is not None and turns.start is None
    assert turn.speech_end == len(frames(1, QUIET) + frames(2, SPEECH)) * FRAME


def test_turns_are_padded_on_both_sides() -> None:
    turn = turns_of(frames(1, QUIET) + frames(2, SPEECH) + frames(1, QUIET))[0]
    begin = len(frames(1, QUIET)) * FRAME
    assert turn.start == begin - 250 * MS
    assert 240 * MS <= turn.end - turn.speech_end <= 250 * MS


def test_speech_at_the_very_beginning_is_not_padded_beyond_it() -> None:
    assert turns_of(frames(1, SPEECH))[0].start == 0


def test_turns_share_a_pause_that_is_too_short_for_both_paddings() -> None:
    limits = Limits(min_silence_duration_ms=320, speech_pad_ms=1000)
    first, second = turns_of(frames(1, SPEECH) + frames(0.384, QUIET) + frames(1, SPEECH), limits)
    assert first.speech_end < first.end <= second.start < first.speech_end + 384 * MS


def test_clicks_are_left_out() -> None:
    assert turns_of(frames(1, QUIET) + frames(0.2, SPEECH) + frames(1, QUIET)) == []


def test_less_likely_speech_goes_on_but_does_not_begin() -> None:
    unsure = 0.2
    assert turns_of(frames(2, unsure)) == []
    assert len(turns_of(frames(1, SPEECH) + frames(1, unsure) + frames(1, SPEECH) + frames(1, QUIET))) == 1


def test_a_long_turn_is_split_at_its_longest_pause() -> None:
    speech = frames(1.5, SPEECH) + frames(0.1, QUIET) + frames(1, SPEECH)
    speech += frames(0.3, QUIET) + frames(3, SPEECH)
    first, second = turns_of(speech + frames(1, QUIET))
    assert first.speech_end == len(frames(1.5, SPEECH) + frames(0.1, QUIET) + frames(1, SPEECH)) * FRAME
    assert first.end <= second.start


def test_a_long_turn_without_a_pause_is_cut() -> None:
    found = turns_of(frames(12, SPEECH))
    assert [round((turn.end - turn.start) / 16_000) for turn in found] == [5, 5, 2]
    assert all(one.end == other.start for one, other in itertools.pairwise(found))


def test_limits_can_change_in_the_middle_of_a_turn() -> None:
    turns = Turns(LIMITS)
    assert [turns.feed(p) for p in frames(1, SPEECH) + frames(0.2, QUIET)].count(None) > 0
    turns.limits = Limits(min_silence_duration_ms=100)
    assert turns.feed(QUIET) is not None


LIMITS_OF_ANY_KIND = st.builds(
    Limits,
    st.floats(0, 1),
    st.integers(0, 3000),
    st.integers(0, 2000),
    st.floats(0.1, 10),
    st.integers(0, 3000),
)


@settings(max_examples=examples(100))
@given(LIMITS_OF_ANY_KIND, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), max_size=30))
def test_turns_never_overlap_and_nothing_needed_is_forgotten(
    limits: Limits, runs: list[tuple[float, int]]
) -> None:
    turns, end = Turns(limits), 0
    for probability in [p for p, count in runs for _ in range(count)]:
        needed = turns.needed
        turn = turns.feed(probability)
        if turn is not None:
            assert end <= turn.start <= turn.end <= turns.position
            assert turn.start >= needed
            end = turn.end
