from tests.support.engines import model

from tutti.base.model import Model
from tutti.meeting.wants import key_of
from tutti.node.adapters import Adapters


def adapter(name: str, **fields: object) -> Model:
    return model("llamacpp", name=name, adapter_of="base", **fields)


ONE, TWO, THREE = (adapter(name) for name in ("one", "two", "three"))


def test_numbers_are_those_of_the_last_start() -> None:
    adapters = Adapters()
    adapters.ask(ONE)
    adapters.ask(TWO)
    assert not adapters.complete
    assert adapters.number(key_of(TWO)) == -1
    assert adapters.take() == [ONE, TWO]
    assert adapters.complete
    assert [adapters.number(key_of(it)) for it in (ONE, TWO, THREE)] == [0, 1, -1]


def test_a_number_stays_when_others_come() -> None:
    adapters = Adapters()
    adapters.ask(ONE)
    adapters.take()
    adapters.ask(TWO)
    adapters.ask(ONE)
    assert adapters.take() == [ONE, TWO]


def test_the_one_asked_for_longest_ago_makes_place_and_the_others_keep_their_numbers() -> None:
    adapters = Adapters(most=2)
    for it in (ONE, TWO, ONE, THREE):
        adapters.ask(it)
    assert adapters.take() == [ONE, THREE]
    assert not adapters.has(key_of(TWO))


def test_only_adapters_that_never_ran_are_blamed_for_a_failed_start() -> None:
    adapters = Adapters()
    adapters.ask(ONE)
    adapters.take()
    adapters.proved()
    adapters.ask(TWO)
    adapters.take()
    assert adapters.refuse("broken")
    assert adapters.refused == {key_of(TWO): "broken"}
    assert adapters.take() == [ONE]
    assert not adapters.refuse("broken again")
    assert adapters.take() == [ONE]


def test_two_projects_may_have_an_adapter_of_the_same_name() -> None:
    adapters = Adapters()
    mine, theirs = adapter("one", project_id="a"), adapter("one", project_id="b")
    adapters.ask(mine)
    adapters.ask(theirs)
    adapters.take()
    assert (adapters.number(key_of(mine)), adapters.number(key_of(theirs))) == (0, 1)
