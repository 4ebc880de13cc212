"""The test suite itself: three times in a row on a quiet machine, once beside four processes that burn CPU.

An hour. What the runs print is kept in files whose names are printed.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bench.report import Claim, at_most, publish
from bench.servers import ROOT

ROUNDS, BURNING = 3, 4
MOST_MINUTES, MOST_TIMES = 10.0, 3.0
BURN = "while True: pass"


@dataclass(frozen=True)
class Run:
    minutes: float
    status: int
    output: str

    @property
    def failed(self) -> float:
        """Return how many tests failed; at least one where the run did."""
        counted = sum(int(number) for number in re.findall(r"(\d+) (?:failed|errors?)\b", self._closing_line))
        return max(counted, int(self.status != 0))

    @property
    def passed(self) -> float:
        return sum(int(number) for number in re.findall(r"(\d+) passed\b", self._closing_line))

    @property
    def failed_once(self) -> list[str]:
        listed = self.output.rpartition(" failed once")[2].splitlines()[1:]
        return [line for line in listed if re.search(r" s, alone [\d.]+ s$", line)]

    @property
    def _closing_line(self) -> str:
        lines = [line for line in self.output.splitlines() if re.search(r"\d+ \w+.* in [\d.]+s", line)]
        return lines[-1] if lines else ""


async def main() -> None:
    await asyncio.to_thread(_make, "clients")  # so that no run waits for what is installed once
    quiet = [await asyncio.to_thread(_run, f"quiet-{number}") for number in range(ROUNDS)]
    with _burning(BURNING):
        loaded = await asyncio.to_thread(_run, "loaded")
    minutes = [run.minutes for run in quiet]
    once = [f"{kind}: {name}" for kind, run in _named(quiet, loaded) for name in run.failed_once]
    publish(
        "suite",
        [
            at_most("make test, quiet, caches filled", "min", minutes, MOST_MINUTES),
            _none("failed tests, three runs in a row", [run.failed for run in quiet]),
            at_most(
                f"make test beside {BURNING} processes that burn CPU",
                "times the quiet one",
                [loaded.minutes / median(minutes)],
                MOST_TIMES,
            ),
            _none(f"failed tests beside {BURNING} processes that burn CPU", [loaded.failed]),
            Claim("passed tests", "", [run.passed for run in [*quiet, loaded]]),
            Claim("failed once, passed alone", "", [float(len(it.failed_once)) for it in [*quiet, loaded]]),
        ],
        notes="failed once: " + ("; ".join(once) or "none"),
    )


def _named(quiet: list[Run], loaded: Run) -> Iterator[tuple[str, Run]]:
    yield from (("quiet", run) for run in quiet)
    yield "loaded", loaded


def _none(name: str, rounds: list[float]) -> Claim:
    return Claim(name, "", rounds, "0 in each", not any(rounds))


def _run(name: str) -> Run:
    began = time.monotonic()
    done = _make("test")
    minutes = (time.monotonic() - began) / 60
    with tempfile.NamedTemporaryFile("w", prefix=f"tutti-suite-{name}-", suffix=".log", delete=False) as log:
        log.write(done.stdout)
    print(f"{name}: {minutes:.1f} min, status {done.returncode}, {log.name}", flush=True)
    return Run(minutes, done.returncode, done.stdout)


def _make(target: str) -> subprocess.CompletedProcess[str]:
    argv = ["make", "--no-print-directory", target]
    return subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def _burning(count: int) -> Iterator[None]:
    with contextlib.ExitStack() as later:
        for _ in range(count):
            process = later.enter_context(subprocess.Popen([sys.executable, "-c", BURN]))
            later.callback(process.kill)
        yield


if __name__ == "__main__":
    asyncio.run(main())
