"""One test in a pytest process of its own, and the reports of that process."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.patience import limit

_LONGEST_S = 1800.0


@dataclass(frozen=True)
class Alone:
    reports: Sequence[pytest.TestReport]
    status: int
    output: str

    @property
    def passed(self) -> bool:
        called = any(report.when == "call" for report in self.reports)
        return self.status == 0 and called and all(report.passed for report in self.reports)

    @property
    def seconds(self) -> float:
        return sum(report.duration for report in self.reports)


def run_alone(config: pytest.Config, nodeid: str) -> Alone:
    """Run this test with the options of this run."""
    with tempfile.TemporaryDirectory(prefix="tutti-alone-") as folder:
        reports, output = Path(folder) / "reports", Path(folder) / "output"
        status = _run([*_options(config), f"--write-reports={reports}", nodeid], config.rootpath, output)
        lines = reports.read_text().splitlines() if reports.exists() else []
        return Alone([_report(config, line) for line in lines], status, output.read_text(errors="replace"))


class Writer:
    """A plugin of that process: writes each report as a line of JSON."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a") as file:
            file.write(json.dumps(data) + "\n")


def _run(arguments: Sequence[str], folder: Path, output: Path) -> int:
    """Return the exit status; what the process leaves running can't hold this up."""
    argv = [sys.executable, "-m", "pytest", *arguments]
    with output.open("wb") as file:
        child = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        return child.wait(limit(_LONGEST_S))
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _options(config: pytest.Config) -> list[str]:
    """Return the options of this run, without the selected tests and without workers."""
    given = [str(it) for it in config.invocation_params.args if str(it) not in config.args]
    return [*given, "-n0"] if config.pluginmanager.hasplugin("xdist") else given


def _report(config: pytest.Config, line: str) -> pytest.TestReport:
    return config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
