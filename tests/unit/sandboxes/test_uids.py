"""User ids for sandboxes: others' are never taken."""

import pytest

from tutti.base.errors import Unavailable
from tutti.sandboxes.uids import Uids

ALL = "         0          0 4294967295\n"
CONTAINER = "         0     100000      65536\n"
SPLIT = "0 100000 51000\n51000 1000 1\n51001 151001 9000\n"


def test_they_are_where_nobody_else_is_and_each_process_has_others():
    firsts = {Uids(3, ALL).take() for _ in range(5)}
    assert len(firsts) == 5 and all(1_900_000_000 <= it < 2_140_000_000 for it in firsts)
    assert 50_000 <= Uids(3, CONTAINER).take() < 60_000


def test_ranges_that_adjoin_are_one():
    assert 50_000 <= Uids(100, SPLIT).take() < 60_000


def test_what_is_not_mapped_is_refused():
    for uid_map in ("0 1000 1\n", "0 100000 51000\n", "0 1 51000\n51001 51001 9000\n"):
        with pytest.raises(Unavailable, match="user ids"):
            Uids(2, uid_map)
    with pytest.raises(Unavailable, match="user ids"):
        Uids(10_001, CONTAINER)


def test_one_that_was_given_back_comes_again_last():
    uids = Uids(3, ALL)
    first = uids.take()
    uids.give(first)
    assert [uids.take() - first for _ in range(3)] == [1, 2, 0]
    with pytest.raises(Unavailable):
        uids.take()
