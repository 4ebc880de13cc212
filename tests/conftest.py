"""Fixtures for every test."""

from collections.abc import Iterator

import pytest
from tests.support.server import Server, running_server


@pytest.fixture(scope="session")
def echo_server() -> Iterator[Server]:
    """A real `tutti serve` with the model `echo`, shared by the tests that only send it requests."""
    with running_server() as server:
        yield server
