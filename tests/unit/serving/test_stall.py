from tutti.engines.base import Progress
from tutti.serving.stall import Stall


def test_an_idle_engine_never_stalls() -> None:
    stall = Stall(0)
    assert [stall.seen(Progress(0, 7), now) for now in (1, 50, 100)] == [0, 0, 0]


def test_a_busy_engine_whose_mark_stands_still_stalls() -> None:
    stall = Stall(0)
    assert [stall.seen(Progress(1, 7), now) for now in (1, 2, 5)] == [0, 1, 4]
    assert stall.seen(Progress(1, 8), 6) == 0


def test_silence_counts_as_standing_still() -> None:
    stall = Stall(0)
    stall.seen(Progress(0, 7), 1)
    assert [stall.seen(None, now) for now in (2, 5)] == [1, 4]
    assert stall.seen(Progress(0, 7), 6) == 0
