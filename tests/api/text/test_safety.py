import time
from typing import Any

import pytest
from tests.api.text.conftest import CHAT, GUARD, Client, chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAFE = {"safety_model": GUARD.name}


@pytest.mark.parametrize("name", ["no/such", CHAT.name])
async def test_a_safety_model_must_be_a_moderation_model(client: Client, name: str) -> None:
    assert (await client.refused(safety_model=name))["param"] == "safety_model"
    assert (await client.refused("/v1/completions", safety_model=name))["param"] == "safety_model"


@pytest.mark.parametrize("stream", [False, True])
async def test_unsafe_input_is_refused_with_its_category(client: Client, stream: bool) -> None:
    messages = [{"role": "user", "content": "an UNSAFE thing"}]
    error = await client.refused(messages=messages, stream=stream, **SAFE)
    assert (error["code"], error["param"]) == ("content_policy_violation", "messages")
    assert "S1" in error["message"]
    error = await client.refused("/v1/completions", prompt="UNSAFE", stream=stream, **SAFE)
    assert (error["code"], error["param"]) == ("content_policy_violation", "prompt")


@pytest.mark.parametrize("stream", [False, True])
async def test_safe_answers_pass_unchanged(client: Client, stream: bool) -> None:
    if not stream:
        answer = await client.chat("hello world", n=2, **SAFE)
        assert [it["message"]["content"] for it in answer["choices"]] == ["hello world"] * 2
        return
    guarded, free = await client.stream("hello world", **SAFE), await client.stream("hello world")
    assert [it["choices"] for it in guarded] == [it["choices"] for it in free]


@pytest.mark.parametrize("stream", [False, True])
async def test_unsafe_output_never_reaches_the_client(client: Client, stream: bool) -> None:
    says_it = {"response_format": {"type": "json_schema", "schema": {"const": "UNSAFE"}}}
    assert "UNSAFE" in (await client.chat("go on", **says_it))["choices"][0]["message"]["content"]
    error = await client.refused(
        messages=[{"role": "user", "content": "go on"}], stream=stream, **says_it, **SAFE
    )
    assert (error["code"], error["param"]) == ("content_policy_violation", None)
    assert "output" in error["message"]


async def test_a_moderation_model_may_be_asked_itself(client: Client) -> None:
    answer = await client.chat("fine", model=GUARD.name)
    assert answer["choices"][0]["message"]["content"] == "safe"


async def test_comments_keep_the_stream_alive_while_its_output_is_judged(hasty: Client) -> None:
    def asked(said: str) -> Any:
        body = chat_body(said, stream=True, **SAFE)
        return hasty.http.stream("POST", "/v1/chat/completions", json=body)

    began = time.monotonic()
    async with asked("[[sleep 90]] hello") as response:
        assert response.status_code == 200
        assert (await anext(response.aiter_lines())).startswith(":")
        assert time.monotonic() - began < 60  # long before it is judged
    async with asked("[[sleep 1.2]] hello") as response:
        first, *_, third_last, _, last = [line async for line in response.aiter_lines() if line]
    assert first.startswith(":")
    assert last == "data: [DONE]"
    assert "hello" in third_last
