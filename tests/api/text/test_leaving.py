"""A client that goes away frees the engine at once, whatever it was waiting for."""

import asyncio
import json
import time
from typing import Any

import pytest
from tests.api.text.conftest import GUARD, Client, chat_body
from tests.support.engines import Running

from tutti.process.probe import get

pytestmark = pytest.mark.asyncio(loop_scope="module")


FREED_S = 2.0
"""Half a second where nobody else uses the machine."""


async def busy(engine: Running) -> int:
    _, body = await get(engine.address + "/progress", timeout_s=5)
    return json.loads(body)["busy"]


async def until_busy(engine: Running, count: int, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while await busy(engine) != count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"stream": False},
        {"stream": True, "n": 3},
        {"stream": False, "n": 3},
    ],
)
async def test_a_client_that_leaves_frees_the_engine(
    client: Client, engine: Running, fields: dict[str, Any]
) -> None:
    body = chat_body("[[sleep 20]] x", **fields)
    request = asyncio.create_task(client.post("/v1/chat/completions", body))
    await until_busy(engine, fields.get("n", 1), within_s=5)
    request.cancel()
    await until_busy(engine, 0, FREED_S)


async def test_a_client_that_leaves_in_the_middle_frees_the_engine(client: Client, engine: Running) -> None:
    body = chat_body("[[tokens 4000]]" + "[[sleep 0]]", stream=True)
    async with client.http.stream("POST", "/v1/completions", json=body | {"prompt": "[[sleep 9]]"}) as late:
        assert late.status_code == 200
    await until_busy(engine, 0, FREED_S)
    async with client.http.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_lines())
    await until_busy(engine, 0, FREED_S)  # what was already written is read first


async def test_a_client_that_leaves_frees_the_guard(client: Client, guard: Running) -> None:
    body = chat_body("[[sleep 20]] x", stream=True, safety_model=GUARD.name)
    request = asyncio.create_task(client.post("/v1/chat/completions", body))
    await until_busy(guard, 1, within_s=5)
    request.cancel()
    await until_busy(guard, 0, FREED_S)


async def test_a_failing_choice_ends_the_others(client: Client, engine: Running) -> None:
    body = {"model": "test/chat", "prompt": ["[[sleep 20]] x", "[[error 400]]"], "stream": True}
    response = await client.post("/v1/completions", body)
    assert response.status_code == 400
    await until_busy(engine, 0, FREED_S)


async def test_the_engine_is_free_within_half_a_second(client: Client, engine: Running) -> None:
    """Whether it waits or floods. The best of a few: the machine may be busy with other things."""

    async def waiting() -> None:
        body = chat_body("[[sleep 20]] x", stream=True)
        request = asyncio.create_task(client.post("/v1/chat/completions", body))
        await until_busy(engine, 1, within_s=5)
        request.cancel()

    async def flooding() -> None:
        body = chat_body("[[tokens 8000]]", stream=True, max_tokens=8000)
        async with client.http.stream("POST", "/v1/chat/completions", json=body) as response:
            await anext(response.aiter_lines())

    for left in (waiting, flooding):
        seconds: list[float] = []
        for _ in range(4):
            await left()
            began = time.monotonic()
            await until_busy(engine, 0, within_s=5)
            seconds.append(time.monotonic() - began)
        assert min(seconds) <= 0.5, (left.__name__, seconds)
