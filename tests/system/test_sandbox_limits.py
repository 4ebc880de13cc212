"""Each limit of a session, reached: what the code is told, and that the session goes on where it can."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.patience import limit
from tests.support.sandboxes import printed, started, text

from tutti.meeting.sandbox_calls import InputFile
from tutti.sandboxes.session import Session, SessionDied

MIB = 1024 * 1024


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with started(memory_bytes=256 * MIB, disk_bytes=32 * MIB, processes=24) as session:
        yield session


@pytest.fixture
async def brief() -> AsyncIterator[Session]:
    """With a second of CPU time, which a slow machine may need for reaching another limit."""
    async with started(cpu_s=1.0) as session:
        yield session


async def reason(session: Session, code: str) -> str:
    """Why it died of it."""
    with pytest.raises(SessionDied) as died:
        await session.execute(code)
    assert text(died.value.outputs, "error").endswith(died.value.reason)
    return died.value.reason


async def error(session: Session, code: str) -> str:
    """The last line."""
    return text(await session.execute(code), "error").splitlines()[-1]


async def test_memory_of_one_process_is_an_error_and_the_session_goes_on(session: Session) -> None:
    told = await error(session, "kept = []\nwhile True: kept.append(bytearray(10_000_000))")
    assert told == "The session has 256 MiB of memory."
    assert int(await printed(session, "print(len(kept))")) > 10
    assert await printed(session, "del kept\nprint(len(bytearray(100_000_000)))") == "100000000\n"


@pytest.mark.parametrize(
    "code",
    [
        "import mmap\nkept = []\nwhile True: kept.append(mmap.mmap(-1, 2**24)); kept[-1].write(bytes(2**24))",
        "import os, time\nfor _ in range(8):\n  if os.fork() == 0: x = b'.' * 80_000_000; time.sleep(90)\n"
        "time.sleep(90)",
    ],
    ids=["shared", "many-processes"],
)
async def test_memory_that_no_process_is_refused_ends_the_session(session: Session, code: str) -> None:
    assert await reason(session, code) == "The session used more than its 256 MiB of memory."


async def test_memory_counts_after_the_execution_as_well(session: Session) -> None:
    await session.execute(
        "import threading, time, mmap\ndef grow():\n  time.sleep(0.3)\n  kept = []\n"
        "  while True: kept.append(mmap.mmap(-1, 2**24)); kept[-1].write(bytes(2**24))\n"
        "threading.Thread(target=grow).start()"
    )
    assert (
        await asyncio.wait_for(session.ended(), limit(60))
        == "The session used more than its 256 MiB of memory."
    )


async def test_a_fork_bomb_stops_at_the_limit_and_the_session_goes_on(session: Session) -> None:
    code = (
        "import os, time\nkids = []\nwhile True:\n  kids.append(os.fork())\n  if not kids[-1]: time.sleep(99)"
    )
    assert await error(session, code) == "The session may have 24 processes and threads."
    assert int(await printed(session, "print(len(kids))")) < 24
    await printed(session, "for kid in kids: os.kill(kid, 9); os.waitpid(kid, 0)")
    assert await printed(session, "_ = os.system('echo again')") == "again\n"


async def test_threads_count_as_processes(session: Session) -> None:
    code = (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    )
    assert await error(session, code) == "The session may have 24 processes and threads."


async def test_the_disk_is_limited_over_home_and_tmp_together(session: Session) -> None:
    fill = "for i in range(99): open('{}/%d' % i, 'wb').write(bytes(1_000_000))"
    await session.execute(fill.format("/tmp").replace("99", "20"))
    told = await error(session, fill.format("."))
    assert told == "The session may keep 32 MiB in its home directory and /tmp together."
    assert 10 <= int(await printed(session, "import glob\nprint(len(glob.glob('[0-9]*')))")) <= 15


async def test_open_files_are_limited(session: Session) -> None:
    told = await error(session, "kept = []\nwhile True: kept.append(open('/dev/null'))")
    assert told == "The open files of a process are limited."
    assert await printed(session, "del kept\nprint(1)") == "1\n"


async def test_shared_memory_files_are_limited(session: Session) -> None:
    await session.execute("for i in range(99): open(f'/dev/shm/{i}', 'wb').write(bytes(2**20))")
    assert await printed(session, "import os\nprint(len(os.listdir('/dev/shm')))") == "65\n"


async def test_a_file_that_is_larger_than_the_disk_is_an_error(session: Session) -> None:
    outputs = await session.execute("print(1)", [InputFile("big", bytes(33 * MIB))])
    assert [it.type for it in outputs] == ["error"]
    assert "'big' was not written" in text(outputs, "error")
    assert await printed(session, "print(2)") == "2\n"


async def test_empty_files_are_counted() -> None:
    code = "i = 0\nwhile True: open(f'/tmp/{i}', 'w').close(); i += 1"
    async with started(cpu_s=60) as session:
        assert await reason(session, code) == "The session made more than 100000 files."


async def test_sockets_are_counted(session: Session) -> None:
    code = (
        "import os, socket, time\nfor _ in range(12):\n  if os.fork() == 0:\n"
        "    kept = [socket.socketpair() for _ in range(60)]; time.sleep(90)\ntime.sleep(90)"
    )
    assert await reason(session, code) == "The session opened more than 512 sockets."


async def test_cpu_time_of_all_processes_is_limited_and_the_session_goes_on(brief: Session) -> None:
    began = time.monotonic()
    outputs = await brief.execute(
        "import subprocess\nsubprocess.run('for i in 1 2; do while :; do :; done & done; wait', shell=True)"
    )
    assert time.monotonic() - began < 60
    assert text(outputs, "error").endswith("The code used more than its 1 s of CPU time. It was interrupted.")
    assert await printed(brief, "print(1)") == "1\n"


async def test_cpu_time_of_children_that_nobody_waits_for_counts(brief: Session) -> None:
    outputs = await brief.execute(
        "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n"
        "  if os.fork() == 0:\n    while time.process_time() < 0.4: pass\n    os._exit(0)\n  time.sleep(0.4)"
    )
    assert "of CPU time" in text(outputs, "error")


async def test_cpu_time_counts_after_the_execution_as_well(brief: Session) -> None:
    await brief.execute("import subprocess\nx = subprocess.Popen('while :; do :; done', shell=True)")
    told = await asyncio.wait_for(brief.ended(), limit(60))
    assert told == "The code used more than its 1 s of CPU time. The session was ended."


async def test_a_display_that_is_too_big_is_replaced_by_a_text() -> None:
    async with started(output_bytes=200_000) as session:
        (output,) = await session.execute("from IPython.display import HTML\nHTML('x' * 300_000)")
        assert output.type == "execute_result"
        assert isinstance(output.data, dict)
        assert set(output.data) == {"text/plain"}
        assert output.data["text/plain"].startswith("[text/plain, text/html: 300")


async def test_errors_count_as_output() -> None:
    async with started(output_bytes=100_000) as session:
        try:
            outputs = await session.execute(
                "while True:\n  try: 1 / 0\n  except ZeroDivisionError: get_ipython().showtraceback()"
            )
        except SessionDied as died:  # IPython swallows most interrupts
            outputs = died.outputs
        assert "put out more than" in str(outputs[-1].data)
        assert len(text(outputs, "error")) < 300_000


async def test_what_threads_print_forever_neither_piles_up_nor_stops_the_session() -> None:
    async with started(output_bytes=100_000) as session:
        await session.execute(
            "import threading\ndef talk():\n  while True: print('x' * 100)\n"
            "threading.Thread(target=talk, daemon=True).start()"
        )
        await asyncio.sleep(0.5)
        outputs = await session.execute("y = 1")
        assert len(text(outputs)) <= 100_000
