"""The second run of a test that failed, tried on small suites of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.again import ENOUGH
from tests.support.patience import limit

REPOSITORY = Path(__file__).parents[3]
TIMES = '''
import os, time, pytest
from pathlib import Path

def times(name):
    """How often this was called with the name, by any process."""
    with Path(name).open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\\n")
    return len(Path(name).read_text().splitlines())
'''
ONCE = """
@pytest.fixture
def bad_setup_once():
    assert times("setup") > 1

@pytest.fixture
def bad_teardown_once():
    yield
    assert times("teardown") > 1

def test_call_once():
    print("printed the first time")
    assert times("call") > 1, "so it was"

def test_setup_once(bad_setup_once): pass
def test_teardown_once(bad_teardown_once): pass

@pytest.mark.parametrize("text", ["a b::c[d]/é"])
def test_strange_name_once(text):
    assert times("strange") > 1

@pytest.mark.parametrize("number", [1, 2, 3])
def test_well(number):
    time.sleep(0.1)
    times("well")
"""
TWICE = """
def test_twice():
    times("twice")
    assert not "for ever"

def test_skipped_then():
    if times("skipped") > 1:
        pytest.skip("it shows nothing")
    assert False

def test_killed_then():
    if times("killed") > 1:
        os._exit(5)
    assert False
"""
CRASH = """
def test_crash_once():
    if times("crash") == 1:
        os._exit(3)

def test_well(): pass
"""
MANY = f"""
@pytest.mark.parametrize("number", range({ENOUGH + 2}))
def test_many(number):
    times("many")
    assert False
"""


def run(folder: Path, text: str, *options: str, **environment: str) -> tuple[int, str, str]:
    """The exit status, what was printed, and its last line."""
    (folder / "test_it.py").write_text(TIMES + text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    ours = (f"tests.support.{it}" for it in ("patience", "again", "schedule"))
    plugins = ("xdist", "pytest_timeout", *ours, "no:cacheprovider")
    argv = [sys.executable, "-m", "pytest", "-q", *(f"-p{it}" for it in plugins), *options]
    plain = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TUTTI_TEST_PATIENCE": "1", "PYTHONPATH": str(REPOSITORY)}
    variables = {**plain, **environment}
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=limit(100)
    )
    return done.returncode, done.stdout, done.stdout.strip().splitlines()[-1]


def runs(path: Path) -> list[tuple[int, float]]:
    """The process and the time of each run."""
    lines = (line.split() for line in path.read_text().splitlines())
    return [(int(pid), float(at)) for pid, at in lines]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_failed_once_is_run_alone_at_the_end_and_has_passed(tmp_path: Path, workers: str) -> None:
    status, output, last = run(tmp_path, ONCE, "-n", workers)
    assert status == 0, output
    assert re.match(r"7 passed, 4 rerun in ", last), output
    listed = output.partition("failed once")[2].splitlines()[1:-1]
    assert sorted(re.split(r"[ \[]", line)[0] for line in listed) == [
        "test_it.py::test_call_once",
        "test_it.py::test_setup_once",
        "test_it.py::test_strange_name_once",
        "test_it.py::test_teardown_once",
    ]
    assert all(re.search(r" \d+\.\d\d s, alone \d+\.\d\d s$", line) for line in listed)
    assert "so it was" in output and "printed the first time" in output
    (first, _), (second, at) = runs(tmp_path / "call")
    assert second not in {first, *(pid for pid, _ in runs(tmp_path / "well"))}
    assert at > max(time for _, time in runs(tmp_path / "well"))
    assert len(runs(tmp_path / "well")) == 3


def test_what_does_not_pass_the_second_time_fails_the_run(tmp_path: Path) -> None:
    status, output, last = run(tmp_path, ONCE + TWICE)
    assert status == 1
    assert re.match(r"3 failed, 7 passed, 7 rerun in ", last), output
    assert all(f"FAILED test_it.py::test_{it}" in output for it in ("twice", "skipped_then", "killed_then"))
    assert len(runs(tmp_path / "twice")) == 2


def test_a_test_that_ended_its_worker_is_run_again(tmp_path: Path) -> None:
    status, output, last = run(tmp_path, CRASH, "-n", "2", "--dist", "loadfile")
    assert status == 0, output
    assert re.match(r"2 passed, 1 rerun in ", last), output
    assert len(runs(tmp_path / "crash")) == 2
    assert "test_it.py::test_crash_once 0.00 s, alone" in output


def test_with_x_nothing_is_run_again(tmp_path: Path) -> None:
    status, output, last = run(tmp_path, ONCE, "-x")
    assert status == 1
    assert len(runs(tmp_path / "call")) == 1
    assert re.match(r"1 failed in ", last), output


def test_after_many_that_failed_twice_the_others_just_fail(tmp_path: Path) -> None:
    status, output, last = run(tmp_path, MANY)
    assert status == 1
    assert last.startswith(f"{ENOUGH + 2} failed, {ENOUGH + 2} rerun in "), output
    assert len(runs(tmp_path / "many")) == ENOUGH + 2 + ENOUGH


def test_an_error_of_collection_fails_the_run(tmp_path: Path) -> None:
    status, output, last = run(tmp_path, CRASH + "\nimport nowhere\n", "-n", "2")
    assert status != 0
    assert "1 error in" in last and "nowhere" in output


def test_patience_makes_every_limit_longer(tmp_path: Path) -> None:
    slow = (
        "\ndef test_slow(): time.sleep(0.5)\n@pytest.mark.timeout(0.2)\ndef test_slower(): time.sleep(0.5)\n"
    )
    limits = ("-x", "-o", "timeout=0.3")
    assert run(tmp_path, slow, *limits, TUTTI_TEST_PATIENCE="100")[0] == 0
    assert run(tmp_path, slow, *limits, "-k", "slow")[0] == 1
    assert run(tmp_path, slow, *limits, "-k", "slower")[0] == 1
