"""What the runner makes of whatever code displays: always JSON that the server can read."""

import json
import os
from typing import Any

import msgspec
import pytest

from tutti.workers.interpreter import frames


class Odd:
    def __str__(self) -> str:
        return "odd"


ring: list[Any] = []
ring.append(ring)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("text ö", "text ö"),
        ("half \ud800", "half ?"),
        (float("nan"), None),
        ([1.5, float("inf")], [1.5, None]),
        (Odd(), "odd"),
        ({1: (2, {3: Odd()})}, {"1": [2, {"3": "odd"}]}),
        ({(1, 2): 3}, {"(1, 2)": 3}),
    ],
)
def test_anything_becomes_json(value: Any, read: Any) -> None:
    frame = frames.encode({"type": "display_data", "data": value})
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert msgspec.json.decode(frame[4:])["data"] == read


def test_what_never_ends_is_cut() -> None:
    data = json.loads(frames.encode({"data": ring})[4:])["data"]
    for _ in range(10):
        (data,) = data


def test_frames_come_back_whole_and_the_end_is_none() -> None:
    reading, writing = os.pipe()
    frames.write(writing, frames.encode({"code": "ö" * 1000}) + frames.encode({"code": "2"})[:-1])
    os.close(writing)
    assert frames.read(reading) == {"code": "ö" * 1000}
    with pytest.raises(ValueError, match=r"delimiter|Expecting|Unterminated"):
        frames.read(reading)
    assert frames.read(reading) is None
    os.close(reading)
