"""A judge and a model on another server: a second Tutti, that lets only its own key in."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.api.evaluations.conftest import CHAT, Client, judge, writer
from tests.support.engines import Running
from tests.support.platform import api

from tutti.access.keys import create_key, server_secret
from tutti.base.settings import Settings
from tutti.store.db import Database, database_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = [{"text": "good [[this]]"}, {"text": "bad [[this]]"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(tmp_path_factory: pytest.TempPathFactory, engine: Running) -> AsyncIterator[dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("other")
    async with api(folder, [CHAT], {CHAT.name: engine.address}) as url:
        settings = Settings(data_dir=folder)
        database = await Database.open(database_url(settings))
        key = await create_key(database, server_secret(settings), "for evaluations")
        await database.close()
        # A name: the address itself would be refused when the evaluation is created.
        base_url = url.replace("127.0.0.1", "localhost") + "/v1"
        yield {"model_source": "external", "external_base_url": base_url, "external_api_token": key.secret}


async def test_an_external_judge(
    working: str, client: Client, other: dict[str, str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="tutti")
    done = await client.evaluate("classify", ROWS, judge=judge(**other), model_to_evaluate=writer(**other))
    assert done["status"] == "completed", done["results"]
    assert done["results"]["pass_percentage"] == 50.0
    told = [caplog.text, str(done), str(await client.lines(done))]
    assert not [text for text in told if other["external_api_token"] in text]
    for path in folder.rglob("*"):
        assert not path.is_file() or other["external_api_token"].encode() not in path.read_bytes()


async def test_a_token_that_is_refused_ends_it_at_once(
    working: str, client: Client, other: dict[str, str]
) -> None:
    wrong = {**other, "external_api_token": "tutti_wrong"}
    done = await client.evaluate("classify", ROWS, judge=judge(**wrong))
    assert done["status"] == "user_error" and "refused the token (401)" in done["results"]["error"]


async def test_a_model_that_the_other_server_lacks_is_a_user_error(
    working: str, client: Client, other: dict[str, str]
) -> None:
    done = await client.evaluate("classify", ROWS, judge=judge(**other, model="no/such"))
    assert done["status"] == "user_error" and "no/such" in done["results"]["error"]
