"""WebSockets of several projects where there are few: four, three of one project."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from tests.api.audio.conftest import SLOW, SPEECH, Talk, talking
from tests.support.engines import Running
from tests.support.platform import api

from tutti.access.keys import create_key, project_named, server_secret
from tutti.base.settings import Settings
from tutti.store.db import Database, database_url

PATH = "/v1/audio/speech/websocket?model="
Headers = Mapping[str, str]


async def keys_of(folder: Path, *projects: str) -> list[Headers]:
    settings = Settings(data_dir=folder)
    database = await Database.open(database_url(settings))
    found: list[Headers] = []
    for name in projects:
        project = await project_named(database, name)
        key = await create_key(database, server_secret(settings), name, project_id=project.id)
        found.append({"authorization": f"Bearer {key.secret}"})
    await database.close()
    return found


async def told(talk: Talk) -> str:
    """What it is told when it is closed."""
    error = (await talk.next())["error"]
    assert error["code"] == "too_many_sessions" and await talk.closed() == 1013
    return error["message"]


async def test_a_project_leaves_sockets_to_others_and_a_silent_one_gives_way(
    tmp_path: Path, slow: Running
) -> None:
    settings = {"max_sockets": 4, "slots": 8}
    async with (
        api(tmp_path, [SLOW, SPEECH], {SLOW.name: slow.address}, **settings) as url,
        AsyncExitStack() as held,
    ):
        a, b = await keys_of(tmp_path, "a", "b")
        for _ in range(3):
            talk = await held.enter_async_context(
                talking(url, PATH + SLOW.name + "&max_partial_length=2000", a)
            )
            await talk.send("input_text_buffer.append", text="One. " + "word " * 300 + ".")
            await talk.until("delta")
        fourth = await held.enter_async_context(talking(url, PATH + SPEECH.name, a))
        said = await told(fourth)
        assert "something goes on" in said and "3 WebSockets" in said and "max_project_sockets" in said
        silent = await held.enter_async_context(talking(url, PATH + SPEECH.name, b))
        assert (await silent.next())["type"] == "session.created"
        while True:  # it is silent only after a while
            other = await held.enter_async_context(talking(url, PATH + SPEECH.name, b))
            if (await other.next())["type"] == "session.created":
                break
            await asyncio.sleep(0.2)
        assert "to make room" in await told(silent)
