"""What every way of sandboxing promises. Those that are not to be had here are skipped, and say why."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.fleet import until
from tests.support.processes import gone
from tests.support.sandboxes import environment, printed, started, text

from tutti.base.errors import CannotSandbox
from tutti.meeting.sandbox_calls import InputFile
from tutti.sandboxes.base import Driver, Limits
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.container import Container
from tutti.sandboxes.probe import choose
from tutti.sandboxes.runsc import Runsc
from tutti.sandboxes.session import Output, Session, SessionDied
from tutti.sandboxes.unsafe import UnsafeSubprocess

DRIVERS: list[Driver] = [
    Bubblewrap(),
    UnsafeSubprocess(),
    Runsc(),
    Container("podman"),
    Container("docker"),
]
EVERYWHERE = ("bubblewrap", "unsafe-subprocess")


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
async def driver(request: pytest.FixtureRequest) -> Driver:
    if request.param.name not in EVERYWHERE:
        try:
            await choose([request.param], environment(), Limits())
        except CannotSandbox as error:
            pytest.skip(error.message)
    return request.param


@pytest.fixture
async def session(driver: Driver) -> AsyncIterator[Session]:
    async with started(driver, time_s=20, output_bytes=100_000) as session:
        yield session


@pytest.fixture
async def hurried(driver: Driver) -> AsyncIterator[Session]:
    """Has two seconds for each execution: enough for the little that must be done in them on any machine."""
    async with started(driver, time_s=2) as session:
        yield session


async def test_state_is_kept_and_output_is_in_order(session: Session) -> None:
    first = await session.execute(
        "import os, sys, subprocess\nx = 6\nprint('a'); print('b', file=sys.stderr)\n"
        "os.system('echo c'); subprocess.run(['echo', 'd'])\nprint('e'); x * 7"
    )
    assert first == [
        Output("stdout", "a\n"),
        Output("stderr", "b\n"),
        Output("stdout", "c\nd\ne\n"),
        Output("execute_result", {"text/plain": "42"}),
    ]
    assert await printed(session, "print(x)") == "6\n"


async def test_errors_are_tracebacks_without_colours_and_the_session_goes_on(session: Session) -> None:
    (error,) = await session.execute("def f():\n    return 1 / 0\nf()")
    assert error.type == "error"
    assert "ZeroDivisionError: division by zero" in str(error.data)
    assert "return 1 / 0" in str(error.data)
    assert "\x1b" not in str(error.data)
    assert "SyntaxError" in text(await session.execute("def"), "error")
    assert await printed(session, "print(1)") == "1\n"


async def test_files_are_there_before_the_code_runs(session: Session) -> None:
    files = [InputFile("data/in.csv", b"a,b\n1,2\n"), InputFile("ö b.bin", bytes(range(256)))]
    outputs = await session.execute(
        "print(open('data/in.csv').read(), len(open('ö b.bin', 'rb').read()))", files
    )
    assert text(outputs) == "a,b\n1,2\n 256\n"


async def test_nothing_of_our_environment_is_there(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTTI_SECRET", "do-not-tell")
    async with started(driver) as session:
        seen = await printed(session, "import os\nprint(os.environ, open('/proc/self/environ').read())")
    assert "HOME" in seen
    assert "TUTTI" not in seen
    assert "do-not-tell" not in seen


async def test_an_endless_loop_is_interrupted_and_the_session_goes_on(hurried: Session) -> None:
    began = time.monotonic()
    outputs = await hurried.execute("x = 7\nprint('begun')\nwhile True: pass")
    assert time.monotonic() - began < 30
    assert text(outputs) == "begun\n"
    assert outputs[-1] == Output("error", "The code ran longer than 2 s. It was interrupted.")
    assert await printed(hurried, "print(x)") == "7\n"


async def test_one_that_ignores_the_interrupt_ends_the_session(hurried: Session) -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun')\nwhile True: pass"
    with pytest.raises(SessionDied) as died:
        await hurried.execute(code)
    assert died.value.reason.startswith("The code ran longer than 2 s. It went on")
    assert died.value.outputs[0] == Output("stdout", "begun\n")
    assert died.value.outputs[-1] == Output("error", died.value.reason)
    assert hurried.dead == died.value.reason
    with pytest.raises(SessionDied) as again:
        await hurried.execute("print(1)")
    assert (again.value.reason, again.value.outputs) == (died.value.reason, [])


async def test_a_call_that_is_cancelled_interrupts_its_code(session: Session) -> None:
    before = len(_pids(session))
    code = "import subprocess\nx = 1\nsubprocess.run(['sleep', '100'])\nx = 2"
    call = asyncio.create_task(session.execute(code))
    queued = asyncio.create_task(session.execute("x = 3"))
    await until(lambda: len(_pids(session)) > before)
    call.cancel()
    queued.cancel()
    assert await printed(session, "print(x)") == "1\n"


async def test_endless_output_is_cut_and_the_code_interrupted(session: Session) -> None:
    outputs = await session.execute("while True: print('x' * 999)")
    assert 50_000 < len(text(outputs)) <= 100_000
    said = "The code put out more than 97.6562 KiB; the rest is left out. It was interrupted."
    assert outputs[-1] == Output("error", said)
    assert await printed(session, "print(1)") == "1\n"


async def test_code_that_ends_its_process_ends_the_session_and_is_told(session: Session) -> None:
    with pytest.raises(SessionDied) as died:
        await session.execute("import os\nprint('last words')\nos._exit(3)")
    assert died.value.reason == "The code ended the session's process (status 3)."
    assert died.value.outputs[0] == Output("stdout", "last words\n")


async def test_nothing_is_left_when_it_is_closed(driver: Driver) -> None:
    async with started(driver) as session:
        await session.execute("import subprocess\nsubprocess.Popen(['sleep', '1000'])")
        pids = _pids(session)
        assert len(pids) >= 2
    assert session.dead == "The session was closed."
    await gone(pids, 20)


def _pids(session: Any) -> list[int]:
    return list(session._box.pids())
