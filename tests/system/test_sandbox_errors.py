"""Every way in which an error can end a cell: its traceback comes once, as an error, never on stderr."""

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from tests.support.sandboxes import started, text

from tutti.sandboxes.session import Output, Session

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAISED = {
    "a plain one": "raise ValueError('MARK')",
    "in a function": "def f(): raise ValueError('MARK')\nf()",
    "a group": "raise ExceptionGroup('MARK', [ValueError(1), TypeError(2)])",
    "a group of groups": "raise ExceptionGroup('a', [ExceptionGroup('MARK', [ValueError(1)])])",
    "a group of the base kind": "raise BaseExceptionGroup('MARK', [KeyboardInterrupt(), SystemExit(3)])",
    "from a task group": (
        "import asyncio\nasync def f(): raise ValueError('MARK')\n"
        "async with asyncio.TaskGroup() as g: g.create_task(f())"
    ),
    "after a group": (
        "try: raise ExceptionGroup('a', [ValueError(1)])\nexcept* ValueError: raise KeyError('MARK')"
    ),
    "from a group": "raise KeyError('MARK') from ExceptionGroup('a', [ValueError(1)])",
    "chained": "try: 1 / 0\nexcept ZeroDivisionError as e: raise KeyError('MARK') from e",
    "in a context": "try: 1 / 0\nexcept ZeroDivisionError: raise KeyError('MARK')",
    "a ring": "a, b = ValueError('MARK'), KeyError('b')\na.__cause__, b.__cause__ = b, a\nraise a",
    "no Python": "x = = 'MARK'",
    "badly indented": "if True:\nMARK = 1",
    "no Python later": "compile('x = = MARK', 'f', 'exec')",
    "no Python, made by hand": "raise SyntaxError('MARK', ('f', 'x', object(), None))",
    "an exit": "raise SystemExit('MARK')",
    "an exit of one's own": "class Leave(SystemExit): pass\nraise Leave('MARK')",
    "an exit by sys": "import sys; sys.exit('MARK')",
    "an interrupt": "raise KeyboardInterrupt('MARK')",
    "of the base kind": "class Base(BaseException): pass\nraise Base('MARK')",
    "that cannot be told": "class MARK(Exception):\n  def __str__(self): raise ValueError('bad')\nraise MARK",
    "that renders itself": (
        "class Own(Exception):\n  def _render_traceback_(self): return ['MARK']\nraise Own('x')"
    ),
    "that renders itself badly": (
        "class Own(Exception):\n  def _render_traceback_(self): 1 / 0\nraise Own('MARK')"
    ),
    "that renders itself as a number": (
        "class Own(Exception):\n  def _render_traceback_(self): return 7\nraise Own('MARK')"
    ),
    "with a note": "e = ValueError('a'); e.add_note('MARK'); raise e",
    "in a display hook": "import sys\ndef hook(_): raise ValueError('MARK')\nsys.displayhook = hook\n1",
    "in a repr": "class A:\n  def __repr__(self): raise ValueError('MARK')\nA()",
    "in what is displayed": "class A:\n  def __repr__(self): raise ValueError('MARK')\ndisplay(A())",
    "a magic command": "%MARK",
    "of assertions": "assert False, 'MARK'",
    "in an imported module": "open('m.py', 'w').write('x = = MARK')\nimport m",
    "too deep": "def f(MARK): return f(MARK)\nf(1)",
    "in a thread that is waited for": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(): raise ValueError('MARK')\n"
        "ThreadPoolExecutor(1).submit(f).result()"
    ),
    "awaited": "import asyncio\nasync def f(): raise ValueError('MARK')\nawait asyncio.gather(f(), f())",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session() -> AsyncIterator[Session]:
    async with started() as session:
        yield session


def once(outputs: Sequence[Output], kind: str, mark: str) -> None:
    """One output of this kind has the mark, and none of another kind."""
    assert [it.type for it in outputs if mark in str(it.data)] == [kind], outputs
    assert not text(outputs, "stderr" if kind == "error" else "error"), outputs


@pytest.mark.parametrize("how", RAISED)
async def test_an_error_comes_once(session: Session, how: str) -> None:
    once(await session.execute(RAISED[how]), "error", "MARK")
    (after,) = await session.execute("print('goes on')")
    assert after.data == "goes on\n"


async def test_the_traceback_of_a_group_has_the_codes_lines_and_none_of_ours(session: Session) -> None:
    (output,) = await session.execute("def f():\n  raise ExceptionGroup('g', [ValueError(1)])\nf()")
    said = str(output.data)
    assert said.count("ExceptionGroup: g (1 sub-exception)") == 1
    assert "raise ExceptionGroup('g', [ValueError(1)])" in said and "ValueError: 1" in said
    assert "interactiveshell" not in said and "workers/interpreter" not in said


async def test_an_error_of_a_thread_is_no_error_of_the_cell(session: Session) -> None:
    code = (
        "import threading\ndef f(): raise ValueError('MARK')\n"
        "t = threading.Thread(target=f); t.start(); t.join()"
    )
    once(await session.execute(code), "stderr", "ValueError: MARK")


async def test_what_is_shown_before_the_error_stays(session: Session) -> None:
    outputs = await session.execute("print('one')\nraise ExceptionGroup('MARK', [ValueError()])")
    assert [it.type for it in outputs] == ["stdout", "error"]
