"""Who gives way to whom. A letter is a session: its project's name, large while it is busy, oldest first."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.base.shares import NoRoom, Shares


@dataclass(frozen=True)
class Some:
    project_id: str
    used_at: float
    is_idle: bool


def house(letters: str) -> list[Some]:
    return [Some(it.lower(), at, it.islower()) for at, it in enumerate(letters)]


@pytest.mark.parametrize(
    ("there", "who", "gives_way"),
    [
        ("aaa", "b", None),  # there is room
        ("aaa", "a", 0),  # a has its three
        ("Aaa", "a", 1),
        ("aaab", "b", 0),
        ("aaab", "c", 0),
        ("AAAb", "c", 3),  # a has the most, but only b is idle
        ("abab", "a", 0),  # nobody has more than a: its own, though b's might be older
        ("babc", "c", 0),
        ("bcab", "b", 0),
    ],
)
def test_the_project_with_the_most_gives_way(there: str, who: str, gives_way: int | None) -> None:
    found = Shares(4, 3).giving_way(house(there), who)
    assert (found and int(found.used_at)) == gives_way


@pytest.mark.parametrize(
    ("there", "who", "is_own"), [("AAA", "a", True), ("AABB", "c", False), ("aBBa", "b", False)]
)
def test_what_is_busy_or_a_poorer_projects_never_ends(there: str, who: str, is_own: bool) -> None:
    with pytest.raises(NoRoom) as refused:
        Shares(4, 3).giving_way(house(there), who)
    assert refused.value.is_own == is_own


def test_a_project_may_have_three_quarters_unless_it_is_said() -> None:
    assert Shares.of(64, 0).most_of_project == 48
    assert Shares.of(1, 0).most_of_project == 1
    assert Shares.of(8, 20).most_of_project == 8


@given(st.text("abcABC", max_size=60), st.integers(1, 8), st.integers(0, 8))
def test_no_project_can_take_all_and_nobody_poorer_pays(openings: str, most: int, of_project: int) -> None:
    """Each letter opens a session that is idle (small) or busy for good (large)."""
    shares = Shares.of(most, of_project)
    there: list[Some] = []
    for letter, wanted in zip(openings, house(openings), strict=True):
        counts = {name: sum(it.project_id == name for it in there) for name in "abc"}
        try:
            gone = shares.giving_way(there, wanted.project_id)
        except NoRoom:
            continue
        if gone is not None:
            assert gone.is_idle
            assert gone.project_id == letter.lower() or counts[gone.project_id] > counts[letter.lower()]
            there.remove(gone)
        there.append(wanted)
        assert len(there) <= shares.most
        assert all(sum(it.project_id == name for it in there) <= shares.most_of_project for name in "abc")
