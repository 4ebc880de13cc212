from tutti.base.program import Progress
from tutti.node.stall import SPINS, Stall


def stall_of(*marks: tuple[Progress | None, float, float], limit_s: float = 10) -> list[str]:
    """Why the engine has to end, at each look: progress, CPU time and time."""
    stall = Stall(0, limit_s)
    return ["" if stall.moves(progress, now) else stall.why(cpu_s, now) for progress, cpu_s, now in marks]


def test_an_idle_engine_never_stalls() -> None:
    assert not any(stall_of((Progress(0, 7), 0, 1), (Progress(0, 7), 0, 50), (Progress(0, 7), 0, 100)))


def test_a_busy_engine_that_neither_moves_nor_computes_has_to_end() -> None:
    told = stall_of((Progress(1, 7), 5, 1), (Progress(1, 7), 5, 2), (Progress(1, 7), 5, 13))
    assert told[:2] == ["", ""]
    assert "--hang-timeout" in told[2]


def test_silence_counts_as_standing_still() -> None:
    assert stall_of((Progress(0, 7), 0, 1), (None, 0, 2), (None, 0, 12))[2]


def test_a_busy_engine_that_moves_need_not_compute() -> None:
    """A GPU computes for it."""
    assert not any(stall_of(*((Progress(1, now), 0, now) for now in range(1, 100, 9))))


def test_one_that_computes_is_working_however_long_its_mark_stands_still() -> None:
    looks = [(Progress(1, 7) if now % 4 else None, now * 0.2, now) for now in range(1, 10 * SPINS)]
    assert not any(stall_of(*looks))


def test_one_that_computes_for_ever_without_progress_has_to_end_one_day() -> None:
    looks = [(Progress(1, 7), now * 2.0, now) for now in range(1, 10 * SPINS + 2)]
    told = stall_of(*looks)
    assert told[-1].startswith("it computed for 100 s")
    assert not any(told[:-1])


def test_to_answer_questions_is_not_to_compute() -> None:
    assert stall_of(*((Progress(1, 7), now * 0.01, now) for now in range(1, 12)))[-1]
