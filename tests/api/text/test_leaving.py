"""A client that goes away frees the engine at once, whatever it was waiting for."""

import asyncio
import time
from typing import Any

import pytest
from tests.api.text.conftest import GUARD, Client, chat_body
from tests.support.engines import Running, until_telling

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLEEP = "[[sleep 60]]"
"""Far longer than anybody waits for the engine to be free."""


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
    body = chat_body(f"{SLEEP} x", **fields)
    request = asyncio.create_task(client.post("/v1/chat/completions", body))
    await until_telling(engine, busy=fields.get("n", 1))
    request.cancel()
    await until_telling(engine, busy=0)


async def test_a_client_that_leaves_in_the_middle_frees_the_engine(hasty: Client, engine: Running) -> None:
    body = chat_body("[[tokens 4000]]" + "[[sleep 0]]", stream=True)
    async with hasty.http.stream("POST", "/v1/completions", json=body | {"prompt": SLEEP}) as late:
        assert late.status_code == 200
        await until_telling(engine, busy=1)
    await until_telling(engine, busy=0)
    async with hasty.http.stream("POST", "/v1/chat/completions", json=body) as response:
        await anext(response.aiter_lines())
    await until_telling(engine, busy=0)  # what was already written is read first


async def test_a_client_that_leaves_frees_the_guard(client: Client, guard: Running) -> None:
    body = chat_body(f"{SLEEP} x", stream=True, safety_model=GUARD.name)
    request = asyncio.create_task(client.post("/v1/chat/completions", body))
    await until_telling(guard, busy=1)
    request.cancel()
    await until_telling(guard, busy=0)


async def test_a_failing_choice_ends_the_others(client: Client, engine: Running) -> None:
    body = {"model": "test/chat", "prompt": [f"{SLEEP} x", "[[error 400]]"], "stream": True}
    response = await client.post("/v1/completions", body)
    assert response.status_code == 400
    await until_telling(engine, busy=0)


async def test_the_engine_is_free_within_half_a_second(client: Client, engine: Running) -> None:
    """Whether it waits or floods. The best of several: the machine may be busy with other things."""

    async def waiting() -> None:
        body = chat_body(f"{SLEEP} x", stream=True)
        request = asyncio.create_task(client.post("/v1/chat/completions", body))
        await until_telling(engine, busy=1)
        request.cancel()

    async def flooding() -> None:
        body = chat_body("[[tokens 8000]]", stream=True, max_tokens=8000)
        async with client.http.stream("POST", "/v1/chat/completions", json=body) as response:
            await anext(response.aiter_lines())

    for left in (waiting, flooding):
        seconds: list[float] = []
        while len(seconds) < 10 and min(seconds, default=1) > 0.5:
            await left()
            began = time.monotonic()
            await until_telling(engine, busy=0)
            seconds.append(time.monotonic() - began)
        assert min(seconds) <= 0.5, (left.__name__, seconds)
