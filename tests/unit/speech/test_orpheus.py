"""From numbers to frames, layers and sound, and what llama.cpp is asked."""

from collections.abc import Sequence

import numpy as np
import pytest

from tutti.workers.speech.model import Samples
from tutti.workers.speech.orpheus import completion
from tutti.workers.speech.snac import FRAME_SAMPLES, Frame, frames, layers, streamed

ONE = [7, 4096 + 8, 8192 + 9, 12288 + 10, 16384 + 11, 20480 + 12, 24576 + 13]
TWO = [0, 8191, 8192, 16383, 16384, 24575, 28671]


def numbered(count: int) -> list[Frame]:
    return [(n,) * 7 for n in range(count)]


def decoded(window: Sequence[Frame]) -> Samples:
    """Each frame's sound is its number."""
    assert len(window) <= 4
    return np.repeat(np.array([frame[0] for frame in window], np.float32), FRAME_SAMPLES)


def test_numbers_are_codes_in_the_places_of_a_frame() -> None:
    assert list(frames([*ONE, *TWO])) == [(7, 8, 9, 10, 11, 12, 13), (0, 4095, 0, 4095, 0, 4095, 4095)]


def test_the_layers_are_taken_from_places_0_and_1_4_and_2_3_5_6() -> None:
    coarse, middle, fine = layers([(1, 2, 3, 4, 5, 6, 7), (11, 12, 13, 14, 15, 16, 17)])
    assert coarse.tolist() == [[1, 11]]
    assert middle.tolist() == [[2, 5, 12, 15]]
    assert fine.tolist() == [[3, 4, 6, 7, 13, 14, 16, 17]]
    assert {layer.dtype for layer in (coarse, middle, fine)} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    "broken",
    [
        ONE[:6],
        ONE[1:],
        ONE[:3] + ONE[4:],
        [*ONE[:4], *ONE[3:]],
        [*ONE[:4], ONE[0]],
        [*ONE[:4], -8, *ONE[4:]],
        [-100_000],
        [28_672, 28_673],
    ],
)
def test_what_is_no_whole_frame_is_left_out_alone(broken: list[int]) -> None:
    assert list(frames([*TWO, *broken, *TWO])) == [(0, 4095, 0, 4095, 0, 4095, 4095)] * 2


@pytest.mark.parametrize("count", range(8))
def test_all_frames_are_heard_once_and_in_order(count: int) -> None:
    sound = [n for piece in streamed(numbered(count), decoded) for n in piece[::FRAME_SAMPLES].tolist()]
    assert sound == list(range(count))


def test_a_frame_is_heard_when_two_more_are_known() -> None:
    given = list[int]()
    sound = streamed((frame for frame in numbered(6) if not given.append(frame[0])), decoded)
    heard = [(len(given), piece[::FRAME_SAMPLES].tolist()) for piece in sound]
    assert heard == [(4, [0, 1]), (5, [2]), (6, [3]), (6, [4, 5])]


def test_the_prompt_is_voice_and_text_between_special_tokens() -> None:
    asked = completion("zoe", "Hi <laugh> there")
    assert asked["prompt"] == [
        128259,
        128000,
        "zoe: Hi <laugh> there",
        128009,
        128260,
        128261,
        128257,
    ]
    assert asked["n_predict"] == 7 * (40 + 24)


@pytest.mark.parametrize(
    ("text", "said"),
    [("a<|eot_id|>b", "a |eot_id|>b"), ("<<custom_token_2>", "< custom_token_2>"), ("1 < 2", "1 < 2")],
)
def test_text_has_no_special_tokens(text: str, said: str) -> None:
    assert completion("leo", text)["prompt"][2] == f"leo: {said}"
