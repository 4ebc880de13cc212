"""Who makes room for whom."""

from hypothesis import given
from hypothesis import strategies as st

from tutti.base.program import Share
from tutti.node.eviction import Tenant, victims

WHOLE = Share(100, 2)


def ids(tenants: list[Tenant], needed: Share, *, others: Share | None = None) -> list[str] | None:
    taken = sum((it.share for it in tenants), others or Share())
    chosen = victims(tenants, taken, needed, WHOLE)
    return None if chosen is None else [it.id for it in chosen]


def test_nobody_leaves_where_there_is_room() -> None:
    assert ids([Tenant("a", Share(50), 1)], Share(50)) == []


def test_the_least_recently_used_leaves_first() -> None:
    assert ids([Tenant("new", Share(50), 2), Tenant("old", Share(50), 1)], Share(50)) == ["old"]


def test_nobody_leaves_in_vain() -> None:
    tenants = [Tenant("small", Share(10), 1), Tenant("large", Share(90), 2)]
    assert ids(tenants, Share(90)) == ["large"]


def test_nobody_leaves_where_it_would_not_help() -> None:
    assert ids([Tenant("idle", Share(30), 1)], Share(50), others=Share(70)) is None


def test_gpus_are_freed_by_those_who_hold_them() -> None:
    tenants = [Tenant("cpu", Share(50), 1), Tenant("gpu", Share(0, 2), 2)]
    assert ids(tenants, Share(0, 1)) == ["gpu"]


shares = st.builds(Share, st.integers(0, 60), st.integers(0, 2))


@given(st.lists(st.tuples(shares, st.integers(0, 5)), max_size=6), shares, shares)
def test_what_is_chosen_is_enough_and_no_more(
    drawn: list[tuple[Share, int]], others: Share, needed: Share
) -> None:
    tenants = [Tenant(str(number), share, used) for number, (share, used) in enumerate(drawn)]
    chosen = ids(tenants, needed, others=others)
    if chosen is None:
        assert not (others + needed).fits(WHOLE)
        return
    staying = [it for it in tenants if it.id not in chosen]
    kept = sum((it.share for it in staying), others)
    assert (kept + needed).fits(WHOLE)
    for it in tenants:
        assert it.id not in chosen or not (kept + it.share + needed).fits(WHOLE)
