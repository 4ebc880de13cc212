"""Every request is recorded, however it ends."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.api.text.conftest import CHAT, EMBEDDING, GUARD, Client, chat_body
from tests.support.engines import Running, until_telling
from tests.support.patience import limit

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def url(fresh_url: str) -> str:
    return fresh_url


async def used(client: Client, operation: str) -> dict[str, Any]:
    response = await client.http.get("/v1/billing/usage", params={"group_by": "operation"})
    totals = [it for window in response.json()["data"] for it in window["usage"]]
    found = [it for it in totals if it["operation"] == operation]
    nothing = ("requests", "failed_requests", "prompt_tokens", "completion_tokens")
    return found[0] if found else dict.fromkeys(nothing, 0)


async def until(client: Client, operation: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(limit(60)):
        while not reached(usage := await used(client, operation)):
            await asyncio.sleep(0.05)
    return usage


async def test_tokens_and_time_of_streams_and_whole_answers_are_counted(client: Client) -> None:
    await client.complete("one two three", n=2)
    await client.complete("one two three", stream=True)
    usage = await until(client, "completions", lambda it: it["requests"] == 2)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (6, 9)
    assert usage["failed_requests"] == 0
    assert 0 < usage["mean_first_token_ms"] <= usage["mean_latency_ms"]


async def test_failures_and_clients_that_left_are_counted(client: Client, engine: Running) -> None:
    await client.refused(messages=[{"role": "user", "content": "UNSAFE"}], safety_model=GUARD.name)
    late = chat_body("[[sleep 60]] x", stream=True)
    request = asyncio.create_task(client.post("/v1/chat/completions", late))
    await until_telling(engine, busy=1)
    request.cancel()
    await until(client, "chat-completions", lambda it: it["failed_requests"] == 2)


async def test_what_a_client_got_before_it_left_is_counted(client: Client, engine: Running) -> None:
    """Of one prompt all, as the engine counted it; of the other what was seen, and an estimate."""
    before = await used(client, "completions")
    late = "[[sleep 60]] x y z"
    body = {"model": CHAT.name, "prompt": ["one two", late], "stream": True}
    async with client.http.stream("POST", "/v1/completions", json=body) as response:
        lines = response.aiter_lines()  # kept: the connection would close with it
        async for line in lines:
            if '"finish_reason":"eos"' in line:
                break
        await until_telling(engine, busy=1)
    after = await until(client, "completions", lambda it: it["requests"] == before["requests"] + 1)
    assert after["failed_requests"] == before["failed_requests"] + 1
    assert after["prompt_tokens"] - before["prompt_tokens"] == 2 + 5
    assert after["completion_tokens"] - before["completion_tokens"] == 2


async def test_a_safety_model_and_what_it_kept_back_are_counted(client: Client) -> None:
    before, judged = await used(client, "completions"), await used(client, "safety")
    await client.complete("one two", safety_model=GUARD.name)
    says_it = {"response_format": {"type": "json_schema", "schema": {"const": "so UNSAFE"}}}
    await client.refused("/v1/completions", prompt="go on", safety_model=GUARD.name, **says_it)
    after = await until(client, "completions", lambda it: it["requests"] == before["requests"] + 2)
    assert after["completion_tokens"] - before["completion_tokens"] == 2 + 2
    guard = await until(client, "safety", lambda it: it["requests"] == judged["requests"] + 4)
    assert guard["completion_tokens"] - judged["completion_tokens"] == 5  # safe, safe, safe, unsafe S1
    assert guard["prompt_tokens"] > judged["prompt_tokens"]
    assert guard["failed_requests"] == judged["failed_requests"]


async def test_what_never_reached_a_model_is_not_counted(client: Client) -> None:
    before = await used(client, "completions")
    await client.refused("/v1/completions", model=EMBEDDING.name)
    await asyncio.sleep(0.5)
    assert await used(client, "completions") == before
