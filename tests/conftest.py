"""What holds for every test."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import hypothesis
import uvloop

pytest_plugins = ["tests.support.patience", "tests.support.again", "tests.support.slowest"]

# A busy machine makes any example slow now and then; pytest's own timeout is the limit.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("same", hypothesis.settings.get_profile("search"), derandomize=True)
hypothesis.settings.load_profile("same")


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """Sandboxes on the loop of the server, which decides what their processes inherit."""
    if "sandbox" in item.path.name:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
