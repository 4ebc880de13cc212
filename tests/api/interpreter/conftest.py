import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.interpreter import done
from tests.support.patience import limit
from tests.support.server import Server, running_server

from tutti.access.keys import DEFAULT_PROJECT_ID, create_key, project_named, server_secret
from tutti.app.platform import open_database
from tutti.base.settings import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The default project's code may use the network."""
    network = [DEFAULT_PROJECT_ID]
    with running_server([], interpreter=True, interpreter_warm=1, interpreter_network=network) as server:
        yield server


@pytest.fixture(scope="module")
def opened(server: Server) -> str:
    """A session for tests that do not mind what others have done in it."""
    return done(server.client, "1")["session_id"]


@pytest.fixture(scope="module")
def brief() -> Iterator[Server]:
    """Has one session, for two seconds."""
    one: dict[str, Any] = {"interpreter_sessions": 1, "interpreter_session_s": 2, "interpreter_warm": 0}
    with running_server([], interpreter=True, **one) as server:
        yield server


@pytest.fixture(scope="module")
def narrow() -> Iterator[Server]:
    """Has one session, for 28 seconds, and three of them for an execution."""
    one: dict[str, Any] = {"interpreter_sessions": 1, "interpreter_session_s": 28, "interpreter_warm": 0}
    with running_server([], interpreter=True, interpreter_time_s=3, **one) as server:
        yield server


@contextmanager
def leaving(server: Server, **body: Any) -> Iterator[None]:
    """An execution whose client leaves when this is left."""
    address = urlsplit(server.url)
    connection = HTTPConnection(address.hostname or "", address.port)
    headers = {"authorization": "Bearer any", "content-type": "application/json"}
    connection.request("POST", "/v1/tci/execute", json.dumps({"language": "python", **body}), headers)
    try:
        yield
    finally:
        connection.close()


def wait(reached: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + limit(60)
    while not reached():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


async def client_of(server: Server, project: str) -> httpx.Client:
    """With a key of this project: from now on the server wants one of everybody."""
    settings = Settings(data_dir=server.data_dir)
    async with open_database(settings) as database:
        row = await project_named(database, project)
        key = await create_key(database, server_secret(settings), "laptop", project_id=row.id)
    return httpx.Client(
        base_url=server.url,
        headers={"authorization": f"Bearer {key.secret}"},
        verify=False,
        timeout=limit(60),
    )
