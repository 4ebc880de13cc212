"""Fair turns at starting sessions."""

import asyncio

from tests.support.fleet import until

from tutti.sandboxes.turns import Turns


class Work:
    """Each piece goes on until it is let go."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.running: list[str] = []
        self._let_go: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def want(self, *names: str) -> None:
        """The first letter is the project."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._do(name))

    async def let_go(self, name: str) -> None:
        self._let_go[name].set()
        await self.tasks[name]

    async def _do(self, name: str) -> None:
        self._let_go[name] = asyncio.Event()
        async with self.turns.taken(name[0]):
            self.running.append(name)
            await self._let_go[name].wait()
        self.running.remove(name)


async def test_a_project_waits_for_itself_and_leaves_a_place_to_others() -> None:
    work = Work(3)
    work.want("a1", "a2", "a3", "a4")
    await until(lambda: len(work.running) == 2)
    work.want("b1")
    await until(lambda: "b1" in work.running)
    work.want("b2", "c1")
    await asyncio.sleep(0)
    await work.let_go("a1")  # c has none running, and comes before a and b
    await until(lambda: len(work.running) == 3)
    assert sorted(work.running) == ["a2", "b1", "c1"]
    await work.let_go("c1")
    await until(lambda: len(work.running) == 3)
    assert sorted(work.running) == ["a2", "a3", "b1"]  # as many as b: who came first
    for name in ("a2", "a3", "b1", "b2", "a4"):
        await until(lambda name=name: name in work.running)
        await work.let_go(name)


async def test_who_stops_waiting_takes_no_turn() -> None:
    work = Work(2)
    work.want("a1", "a2", "a3")
    await until(lambda: work.running == ["a1"])
    work.tasks["a2"].cancel()
    await work.let_go("a1")
    await until(lambda: work.running == ["a3"])
    await work.let_go("a3")
    work.want("a4")
    await until(lambda: work.running == ["a4"])
    await work.let_go("a4")
