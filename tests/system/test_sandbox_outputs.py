"""What code can put out, with the real packages: figures, tables, bundles, and what is not Python's own."""

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.sandboxes import printed, started, text

from tutti.meeting.sandbox_calls import InputFile
from tutti.sandboxes.session import Output, Session

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session() -> AsyncIterator[Session]:
    async with started(output_bytes=1_000_000) as session:
        yield session


def png(output: Output) -> bytes:
    assert isinstance(output.data, dict)
    return base64.b64decode(output.data["image/png"])


async def test_figures_are_pngs_shown_or_not_in_order_and_without_any_setup(session: Session) -> None:
    outputs = await session.execute(
        "import matplotlib.pyplot as plt\nprint('before')\nplt.plot([1, 2])\nplt.show()\nprint('between')\n"
        "plt.figure()\nplt.plot([2, 1]);"
    )
    assert [it.type for it in outputs] == ["stdout", "display_data", "stdout", "display_data"], outputs
    assert png(outputs[1]).startswith(b"\x89PNG")
    assert png(outputs[1]) != png(outputs[3])


async def test_tables_are_html_and_text(session: Session) -> None:
    (output,) = await session.execute("import pandas as pd\npd.DataFrame({'a': [1, 2]})")
    assert output.type == "execute_result"
    assert isinstance(output.data, dict)
    assert set(output.data) == {"text/plain", "text/html"}
    assert "<table" in output.data["text/html"]


async def test_bundles_of_any_type_go_out_as_json_can_have_them(session: Session) -> None:
    outputs = await session.execute(
        "from IPython.display import display, HTML, JSON, Image\n"
        "display({'application/vnd.vegalite.v4+json': {'x': [float('nan'), 1, 10**30]}}, raw=True)\n"
        "display(HTML('<b>x</b>'), Image(data=b'\\x89PNG\\r\\n\\x1a\\n'))\n'\\ud800'\n"
    )
    assert [it.data for it in outputs[:1]] == [{"application/vnd.vegalite.v4+json": {"x": [None, 1, 10**30]}}]
    assert isinstance(outputs[1].data, dict)
    assert outputs[1].data["text/html"] == "<b>x</b>"
    assert png(outputs[2]) == b"\x89PNG\r\n\x1a\n"
    assert outputs[3].data == {"text/plain": "'\\ud800'"}


async def test_output_of_c_and_of_subprocesses_is_in_its_place(session: Session) -> None:
    outputs = await session.execute(
        "import ctypes, subprocess, sys\nprint('one')\nctypes.CDLL(None).printf(b'two\\n')\n"
        "subprocess.run('echo three; echo four >&2', shell=True)\nprint('five')\n"
        "sys.stdout.buffer.write(b'six\\xff\\n')\n!echo seven\nprint('eight', end='')"
    )
    assert text(outputs) == "one\ntwo\nthree\nfive\nsix\ufffd\nseven\neight"
    assert text(outputs, "stderr") == "four\n"


async def test_what_comes_after_the_end_comes_with_the_next_execution(session: Session) -> None:
    """The file is there before the code of the next one runs."""
    code = (
        "import os, threading, time\n"
        "def talk():\n  while not os.path.exists('go'): time.sleep(0.001)\n  print('late')\n"
        "t = threading.Thread(target=talk)\nt.start()"
    )
    assert await printed(session, code) == ""
    outputs = await session.execute("t.join(); print('next')", [InputFile("go", b"")])
    assert text(outputs) == "late\nnext\n"


async def test_code_that_waits_is_awaited(session: Session) -> None:
    assert await printed(session, "import asyncio\nawait asyncio.sleep(0.01)\nprint('done')") == "done\n"


async def test_nobody_answers_input(session: Session) -> None:
    for code in ("input('name? ')", "import getpass\ngetpass.getpass()"):
        (error,) = await session.execute(code)
        assert error.type == "error"
        assert "EOFError: Nobody can answer" in str(error.data)
        assert "/run/runner" not in str(error.data)


async def test_a_status_is_an_error_unless_it_is_zero(session: Session) -> None:
    assert await session.execute("import sys\nsys.exit(0)") == []
    assert await session.execute("exit()") == []
    assert await session.execute("sys.exit(3)") == [Output("error", "SystemExit: 3")]


async def test_a_magic_command_that_is_not_there_is_an_error(session: Session) -> None:
    (error,) = await session.execute("%nothing")
    assert error.type == "error"
    assert str(error.data).startswith("UsageError: Line magic function `%nothing` not found")


async def test_help_is_text_and_not_a_pager(session: Session) -> None:
    assert "Docstring" in await printed(session, "print?")


async def test_processes_may_work_together(session: Session) -> None:
    code = (
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, 2]))"
    )
    assert await printed(session, code) == "[1, 2]\n"


async def test_errors_say_that_there_is_no_network(session: Session) -> None:
    for code in (
        "import urllib.request\nurllib.request.urlopen('http://example.com')",
        "import requests\nrequests.get('https://example.com')",
        "import socket\nsocket.create_connection(('1.1.1.1', 80))",
    ):
        said = text(await session.execute(code), "error").splitlines()[-1]
        assert said == "The code interpreter has no network here."
