"""The shepherd and its child, with real programs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.patience import limit
from tests.support.processes import gone

from tutti.process.child import Child, inherited_env
from tutti.process.supervisor import Backoff, Pace, Supervisor

PYTHON = (sys.executable, "-I", "-S", "-c")
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = STUBBORN.replace("signal.SIG_IGN", "lambda *_: __import__('os')._exit(3)")
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
alone = subprocess.Popen(sleep, start_new_session=True)
near = subprocess.Popen(sleep)
print(os.getpid(), alone.pid, near.pid, flush=True)
time.sleep(60)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")


async def start(code: str, log: Path, grace_s: float = 5.0) -> Child:
    return await Child.start((*PYTHON, code), inherited_env(), log=log, grace_s=grace_s)


async def says(log: Path) -> str:
    async with asyncio.timeout(limit(60)):
        while not log.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    return log.read_text()


async def test_exit_status_is_the_programs(tmp_path: Path) -> None:
    child = await start("import sys; sys.exit(7)", tmp_path / "log")
    assert await child.wait() == 7
    assert not child.alive


async def test_death_by_signal_is_128_more(tmp_path: Path) -> None:
    child = await start("import os; os.kill(os.getpid(), 9)", tmp_path / "log")
    assert await child.wait() == 128 + 9


async def test_program_that_cannot_start_is_127_and_says_why(tmp_path: Path) -> None:
    child = await Child.start(("/nonexistent/program",), inherited_env(), log=tmp_path / "log")
    assert await child.wait() == 127
    assert "cannot start /nonexistent/program" in (tmp_path / "log").read_text()


async def test_program_gets_only_the_given_environment_and_no_input(tmp_path: Path) -> None:
    code = "import os, sys; print(sorted(os.environ), repr(sys.stdin.read()))"
    child = await Child.start((*PYTHON, code), {"ONLY": "1", "LC_CTYPE": "C"}, log=tmp_path / "log")
    assert await child.wait() == 0
    assert (tmp_path / "log").read_text() == "['LC_CTYPE', 'ONLY'] ''\n"


async def test_stop_lets_the_program_finish(tmp_path: Path) -> None:
    child = await start(OBEDIENT, tmp_path / "log", grace_s=60)
    await says(tmp_path / "log")
    assert await child.stop() == 3


async def test_stop_kills_after_the_grace(tmp_path: Path) -> None:
    child = await start(STUBBORN, tmp_path / "log", grace_s=0.2)
    await says(tmp_path / "log")
    assert await child.stop() == 128 + 9


async def test_kill_is_immediate_even_of_a_stopped_program(tmp_path: Path) -> None:
    child = await start(FAMILY, tmp_path / "log")
    pids = [int(word) for word in (await says(tmp_path / "log")).split()]
    os.kill(pids[0], signal.SIGSTOP)
    child.kill()
    assert await child.wait() == 128 + 9
    await gone(pids, within_s=20)


@linux
async def test_kill_is_immediate_even_of_a_program_that_is_just_starting(tmp_path: Path) -> None:
    for number in range(20):
        child = await start("import time; time.sleep(100)", tmp_path / f"{number}")
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        while not children.read_text():
            pass  # what comes now is forked, and no program yet
        child.kill()
        async with asyncio.timeout(limit(60)):
            await child.wait()


@linux
async def test_grandchildren_are_ended_too(tmp_path: Path) -> None:
    child = await start(FAMILY, tmp_path / "log")
    pids = [int(word) for word in (await says(tmp_path / "log")).split()]
    assert child.rss_bytes() > 3_000_000
    await child.stop()
    await gone(pids, within_s=20)
    assert child.rss_bytes() == 0


@linux
async def test_program_dies_with_its_shepherd(tmp_path: Path) -> None:
    child = await start(STUBBORN, tmp_path / "log")
    await says(tmp_path / "log")
    pids = [process.pid for process in psutil.Process(child.pid).children()]
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == 128 + 9
    await gone(pids, within_s=20)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_outlives_the_starter(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    code = (
        "import asyncio, pathlib, sys; from tutti.process.child import *\n"
        "async def main():\n"
        f"    await Child.start({(*PYTHON, FAMILY)!r}, inherited_env(), log=pathlib.Path({str(log)!r}))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    starter = subprocess.Popen([sys.executable, "-c", code])
    async with asyncio.timeout(limit(60)):
        while not log.exists():
            await asyncio.sleep(0.01)
    pids = [int(word) for word in (await says(log)).split()]
    with contextlib.suppress(ProcessLookupError):
        starter.send_signal(number)
    starter.wait()
    await gone(pids, within_s=20)


def test_backoff_doubles_up_to_the_longest_and_begins_anew_after_a_healthy_run() -> None:
    backoff = Backoff(Pace(first_s=0.5, longest_s=3, healthy_s=60))
    assert [backoff.pause_s(1) for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert backoff.pause_s(61) == 0.5
    assert backoff.pause_s(1) == 1


async def test_supervisor_starts_a_killed_child_again_and_stops_all(tmp_path: Path) -> None:
    started: list[Child] = []

    async def begin() -> Child:
        started.append(await start("import time; time.sleep(60)", tmp_path / f"{len(started)}"))
        return started[-1]

    supervisor = Supervisor("sleeper", begin, 2, Pace(first_s=0.01, longest_s=0.05))
    async with asyncio.timeout(limit(60)):
        while len(started) < 2:
            await asyncio.sleep(0.01)
        started[0].kill()
        while len(started) < 3:
            await asyncio.sleep(0.01)
    assert supervisor.restarts == 1
    assert started[1].alive
    await supervisor.stop()
    assert not any(child.alive for child in started)
