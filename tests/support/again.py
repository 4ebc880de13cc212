"""A pytest plugin: a test that failed is run once more, alone, when all others have ended.

If it passes then, it has passed, and the run ends with a list of those that failed once. What fails twice has
failed. Nothing else is run again; with `-x` or `--maxfail`, nothing at all.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.alone import Alone, Writer, run_alone

ENOUGH = 5
"""Number of tests that may fail twice. After more, the run has failed, and no further tests are run again."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-reports", metavar="FILE", type=Path, help="write each report as a line of JSON")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("write_reports"):
        config.pluginmanager.register(Writer(config, path))
    elif not (hasattr(config, "workerinput") or config.getoption("maxfail") or config.getoption("usepdb")):
        config.pluginmanager.register(Again(config))


class Again:
    """Holds failures back until their tests have had a second run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._holding = True
        self._seconds: dict[str, float] = defaultdict(float)
        self._counted: set[str] = set()
        self._failures: dict[str, list[pytest.TestReport]] = {}
        self._once: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Make a first failure something else for all who count failures."""
        if not self._holding:
            return
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            report.outcome = "rerun"  # type: ignore[assignment]
            self._failures.setdefault(report.nodeid, []).append(report)
        elif report.when == "call":
            self._counted.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("rerun", "R", "RERUN") if report.outcome == "rerun" else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        try:
            result = yield
        except BaseException:
            self._holding = False
            for nodeid in self._failures:
                self._fail_as_at_first(nodeid, "the run was interrupted before a second one")
            raise
        self._holding = False
        self._run_again()
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show why the tests of the list failed, then the list."""
        if not self._once:
            return
        for nodeid in self._once:
            terminalreporter.section(f"the first time: {nodeid}", "_")
            terminalreporter.write_line("\n".join(map(_text, self._failures[nodeid])))
        terminalreporter.section("failed once: each is a defect to find")
        for nodeid, seconds in self._once.items():
            terminalreporter.write_line(f"{nodeid} {self._seconds[nodeid]:.2f} s, alone {seconds:.2f} s")

    def _run_again(self) -> None:
        if distributed := self._failures and self._config.pluginmanager.getplugin("dsession"):
            distributed.nodemanager.teardown_nodes()  # so that no worker is there any more
        failed = 0
        for nodeid in self._failures:
            if failed == ENOUGH:
                self._fail_as_at_first(nodeid, f"not run again: {ENOUGH} others have failed twice")
            else:
                failed += not self._settle(nodeid, run_alone(self._config, nodeid))

    def _settle(self, nodeid: str, second: Alone) -> bool:
        """Count the second run; say whether the test has passed."""
        if second.passed:
            self._once[nodeid] = second.seconds
        elif not any(report.failed for report in second.reports):
            self._fail_as_at_first(nodeid, f"alone it ended with {second.status}:\n{second.output[-5000:]}")
            return False
        for report in second.reports:
            self._count(report)
        return second.passed

    def _count(self, report: pytest.TestReport) -> None:
        """Count what the first run has not counted."""
        if report.failed:
            report.sections += [("the first time", _text(it)) for it in self._failures[report.nodeid]]
        elif report.when == "call" and report.nodeid in self._counted:
            return
        self._config.hook.pytest_runtest_logreport(report=report)

    def _fail_as_at_first(self, nodeid: str, why: str) -> None:
        for report in self._failures[nodeid]:
            report.outcome = "failed"
            report.sections.append(("run again", why))
            self._config.hook.pytest_runtest_logreport(report=report)


def _text(report: pytest.TestReport) -> str:
    parts = [report.longreprtext, *(f"--- {name}\n{text}" for name, text in report.sections)]
    return "\n".join(parts)
