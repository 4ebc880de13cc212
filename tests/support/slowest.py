"""A pytest plugin: names the slowest files at the end of a run of many."""

from collections import Counter

import pytest

_SHOWN = 10


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Slowest())


class Slowest:
    def __init__(self) -> None:
        self._seconds: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self._seconds.setdefault(file, Counter())[str(report.when)] += report.duration  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self._seconds) <= _SHOWN:
            return
        terminalreporter.section("slowest files")
        slowest = sorted(self._seconds.items(), key=lambda it: -it[1].total())[:_SHOWN]
        for file, seconds in slowest:
            parts = "".join(f" {when} {it:.1f}" for when, it in seconds.items())
            terminalreporter.write_line(f"{seconds.total():7.1f} s {file}:{parts}")
