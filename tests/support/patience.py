"""One factor for every limit of time in the tests.

Such a limit only ends a hang: it is at least ten times what a quiet machine needs. `TUTTI_TEST_PATIENCE=3`
makes all of them three times as long.
"""

import os

import pytest


def limit(seconds: float) -> float:
    """Return how long a test may wait for what a quiet machine does in a tenth of `seconds`."""
    return seconds * float(os.environ.get("TUTTI_TEST_PATIENCE", "1"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scale the limit that pytest-timeout reads after this."""
    if config.getoption("timeout", None) is None and (chosen := config.getini("timeout")):
        config.option.timeout = limit(float(chosen))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scale the limits that tests have of their own."""
    for item in items:
        if marker := item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(limit(marker.args[0])), append=False)
