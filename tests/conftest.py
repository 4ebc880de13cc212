"""Fixtures for every test."""

from collections.abc import Iterator

import hypothesis
import pytest
from tests.support.server import Server, running_server

# A busy machine makes any example slow now and then; pytest's own timeout is the limit.
hypothesis.settings.register_profile("tutti", deadline=None)
hypothesis.settings.load_profile("tutti")


@pytest.fixture(scope="session")
def echo_server() -> Iterator[Server]:
    """A real `tutti serve` with the model `echo`, shared by the tests that only send it requests."""
    with running_server() as server:
        yield server
