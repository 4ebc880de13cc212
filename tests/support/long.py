"""A pytest plugin: the tests with the marker `long` run with `make test-long` only."""

import pytest
from tests.support.budget import is_long


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_long():
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    items[:] = [item for item in items if not item.get_closest_marker("long")]
