"""Workloads of any kind share a node: they are wanted by a row, take room, are watched, and make room."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.support import toy_program
from tests.support.fleet import Stack, echo, say, stack, until

from tutti.base.program import NO_SHARE, Program, Progress, Share
from tutti.meeting.router import ReplicaView, replicas_of
from tutti.meeting.wants import Key, Wanted, want
from tutti.node.fleet import Fleet
from tutti.node.runner import Runner
from tutti.node.workload import Gauge, Site, Workload
from tutti.parts.workloads import WORKLOADS
from tutti.process.probe import get

MEGABYTE = 1_000_000
PROJECT = "proj-a"
KIND = "toy"
KEY = Key("first", PROJECT, KIND)
PROGRAM = toy_program.__file__


class Toy(Workload):
    """A program whose file says what it does."""

    gauge = Gauge("/progress", lambda body: Progress(int(body == b"busy"), None))

    def share(self, whole: Share) -> Share:
        return Share(memory_bytes=30 * MEGABYTE)

    def program(self, site: Site) -> Program:
        argv = (sys.executable, "-I", PROGRAM, str(site.port), self.entry["file"])
        return Program(name=self.key.name, argv=argv, port=site.port, health_path="/health")


async def make(wanted: Wanted, fleet: Fleet) -> Runner:
    return Runner(fleet.node, Toy(wanted.key, wanted.spec), wanted.share)


@dataclass(frozen=True)
class Toys:
    """A fleet that has the kind, and the file that says what its toys do."""

    stack: Stack
    file: Path

    async def want(self, share: Share = NO_SHARE, key: Key = KEY) -> None:
        await want(self.stack.database, Wanted(key, {"file": str(self.file)}, share))

    async def rows(self, key: Key = KEY) -> list[ReplicaView]:
        return list(await replicas_of(self.stack.database, key))

    async def ready(self, not_pids: frozenset[int] = frozenset()) -> ReplicaView:
        """Wait until it is ready, in a process other than these."""

        async def is_ready() -> bool:
            pids = self.pids()
            is_new = bool(pids) and not pids & not_pids
            return is_new and [row.state for row in await self.rows()] == ["ready"]

        await until(is_ready)
        return (await self.rows())[0]

    def pids(self) -> frozenset[int]:
        return frozenset(it.pid for it in psutil.Process().children(recursive=True) if self._is_toy(it))

    def _is_toy(self, process: psutil.Process) -> bool:
        try:
            argv = process.cmdline()
            return argv[2:3] + argv[4:] == [PROGRAM, str(self.file)]
        except psutil.Error:
            return False


@asynccontextmanager
async def toys(folder: Path, *models: Any, **settings: Any) -> AsyncIterator[Toys]:
    file = folder / "doing"
    file.write_text("idle")
    table = {**WORKLOADS, KIND: make}
    async with stack(folder, *models, workloads=table, **settings) as it:
        yield Toys(it, file)


async def test_a_kind_of_ones_own_is_wanted_by_a_row_and_found_in_a_row(tmp_path: Path) -> None:
    async with toys(tmp_path) as it:
        await it.want()
        row = await it.ready()
        assert await get(f"{row.address}/progress", 5) == (200, b"idle")
        assert await it.rows(Key(KEY.name, "proj-b", KEY.kind)) == []
        assert await it.rows(Key(KEY.name, "", KEY.kind)) == []
        assert await it.rows(Key(KEY.name, PROJECT)) == []
        assert await it.stack.dispatch.replicas() == []


async def test_one_that_is_killed_comes_back(tmp_path: Path) -> None:
    async with toys(tmp_path) as it:
        await it.want()
        await it.ready()
        [pid] = gone = it.pids()
        os.kill(pid, signal.SIGKILL)
        await it.ready(gone)
        assert len(it.pids()) == 1
        assert [runner.restarts for runner in it.stack.fleet.runners] == [1]


async def test_one_that_hangs_is_replaced(tmp_path: Path) -> None:
    async with toys(tmp_path, hang_timeout_s=1) as it:
        await it.want()
        await it.ready()
        hung = it.pids()
        it.file.write_text("hang")
        await until(lambda: not it.pids() & hung)
        it.file.write_text("idle")
        await it.ready(hung)


async def test_an_idle_one_makes_room_for_a_model_and_a_busy_one_is_waited_for(tmp_path: Path) -> None:
    model = echo(memory_bytes=100 * MEGABYTE)
    async with toys(tmp_path, model, memory_budget_bytes=150 * MEGABYTE) as it:
        it.file.write_text("busy")
        await it.want(Share(memory_bytes=60 * MEGABYTE))
        await it.ready()
        asked = asyncio.create_task(say(it.stack, model))
        await until(lambda: any(runner.state == "starting" for runner in it.stack.fleet.runners))
        assert len(it.pids()) == 1
        it.file.write_text("idle")
        assert await asked == "hello"
        assert not it.pids()
        assert await it.rows() == []


async def test_one_that_needs_more_than_there_is_fails_with_the_reason(tmp_path: Path) -> None:
    async with toys(tmp_path) as it:
        await it.want(Share(gpus=1000))

        async def failed() -> bool:
            return [row.state for row in await it.rows()] == ["failed"]

        await until(failed)
        [row] = await it.rows()
        assert row.detail.startswith("it needs 1000 GPUs, and this machine has ")


async def test_a_kind_that_the_node_does_not_have_is_left_to_others(tmp_path: Path) -> None:
    key = Key("second", PROJECT, "elsewhere")
    async with toys(tmp_path) as it:
        await it.want(key=key)
        await it.want()
        await it.ready()  # the want before it was looked at
        assert await it.rows(key) == []
