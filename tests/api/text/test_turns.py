"""Projects take turns at the slots of a model."""

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.api.text.conftest import CHAT, chat_body, client_of
from tests.support.engines import Running, until_telling
from tests.support.fleet import until
from tests.support.platform import api

from tutti.access.keys import create_key, project_named, server_secret
from tutti.base.settings import Settings
from tutti.store.db import Database, database_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLEEP = "[[sleep 100]] x"
"""Nobody waits for the answer."""
SLOTS = 2
MOST_WAITING = 7


async def key_of(folder: Path, project: str) -> str:
    settings = Settings(data_dir=folder)
    database = await Database.open(database_url(settings))
    found = await project_named(database, project)
    key = await create_key(database, server_secret(settings), project, project_id=found.id)
    await database.close()
    return key.secret


def asked(client: httpx.AsyncClient, text: str) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post("/v1/chat/completions", json=chat_body(text)))


async def waiting(client: httpx.AsyncClient) -> int:
    told = (await client.get("/metrics")).text
    found = told.partition(f'vllm:num_requests_waiting{{model_name="{CHAT.name}"}} ')[2]
    return int(float(found.partition("\n")[0] or 0))


async def test_one_request_of_a_project_waits_for_one_of_anothers_many(
    tmp_path: Path, engine: Running
) -> None:
    addresses = {CHAT.name: engine.address}
    async with (
        api(tmp_path, [CHAT], addresses, SLOTS, max_queue=MOST_WAITING) as url,
        client_of(url) as many,
        client_of(url) as single,
    ):
        for name, client in (("many", many), ("single", single)):
            client.headers["authorization"] = f"Bearer {await key_of(tmp_path, name)}"
        running = [asked(many, SLEEP) for _ in range(SLOTS)]
        await until_telling(engine, busy=SLOTS)
        rest = [asked(many, SLEEP) for _ in range(MOST_WAITING)]

        async def all_wait() -> bool:
            return await waiting(many) == MOST_WAITING

        await until(all_wait)
        one = asked(single, "hello")
        await until(lambda: any(it.done() for it in rest))
        [refused] = [it.result() for it in rest if it.done()]
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert f"{MOST_WAITING} of them this project's" in refused.json()["error"]["message"]
        running[0].cancel()
        assert (await one).status_code == 200
        assert sum(it.done() for it in rest) == 1
        for task in (*running, *rest):
            task.cancel()
        await until_telling(engine, busy=0)
