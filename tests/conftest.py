"""What holds for every test."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hypothesis
import pytest
import uvloop
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.support.budget import examples

pytest_plugins = [f"tests.support.{it}" for it in ("patience", "again", "slowest", "long", "schedule")]

# A busy machine makes any example slow now and then; pytest's own timeout is the limit.
hypothesis.settings.register_profile("search", deadline=None, max_examples=examples(50))
hypothesis.settings.register_profile("same", hypothesis.settings.get_profile("search"), derandomize=True)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session")
def apart() -> Iterator[BlockingPortal]:
    """An event loop in a thread, for what many tests share: each module of tests has another loop."""
    with start_blocking_portal() as portal:
        yield portal


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start: a shell that runs us in the background makes all of it deaf."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """Sandboxes on the loop of the server, which decides what their processes inherit."""
    if "sandbox" in item.path.name:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
