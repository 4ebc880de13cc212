from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.interpreter import done
from tests.support.server import Server, running_server

from tutti.app.platform import open_database
from tutti.base.settings import Settings
from tutti.http.keys import DEFAULT_PROJECT_ID, create_key, project_named, server_secret


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([], interpreter=True, interpreter_time_s=3, interpreter_warm=1) as server:
        yield server


@pytest.fixture(scope="module")
def opened(server: Server) -> str:
    """A session for tests that do not mind what others have done in it."""
    return done(server.client, "1")["session_id"]


@pytest.fixture(scope="module")
def brief() -> Iterator[Server]:
    """Has one session, for two seconds; that of the default project may use the network."""
    one: dict[str, Any] = {"interpreter_sessions": 1, "interpreter_session_s": 2, "interpreter_warm": 0}
    one["interpreter_network"] = [DEFAULT_PROJECT_ID]
    with running_server([], interpreter=True, **one) as server:
        yield server


async def client_of(server: Server, project: str) -> httpx.Client:
    """With a key of this project: from now on the server wants one of everybody."""
    settings = Settings(data_dir=server.data_dir)
    async with open_database(settings) as database:
        row = await project_named(database, project)
        key = await create_key(database, server_secret(settings), "laptop", project_id=row.id)
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {key.secret}"}, timeout=60)
