"""What can never be answered is refused before anybody works on it."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.api.text.conftest import CHAT, EMBEDDING, Client

from tutti.features.inputs import MOST_BYTES_A_TOKEN, shortened

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = "This model's maximum context length is 8192 tokens. However,"
LONG = "a " * 1_500_000
TINY = [{"role": "user", "content": "a"}]
TOOL = {"type": "function", "function": {"name": "f", "description": LONG}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": LONG}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": "a", "name": "n" * 3_000_000}]}, "messages"),
        ({"tools": [TOOL]}, "tools"),
        ({"chat_template_kwargs": {"documents": [LONG]}}, "chat_template_kwargs"),
    ],
)
async def test_a_chat_of_more_bytes_than_its_context_could_hold(
    client: Client, fields: dict[str, Any], param: str
) -> None:
    error = await client.refused(**fields)
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)
    assert error["message"].startswith(WORDS)


@pytest.mark.parametrize("prompt", [LONG, ["short", LONG]])
async def test_a_prompt_of_more_bytes_than_its_context_could_hold(client: Client, prompt: Any) -> None:
    error = await client.refused("/v1/completions", prompt=prompt)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert error["message"].startswith(WORDS)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"messages": TINY * 100_000}, "messages"),
        ("/v1/embeddings", {"input": ["a"] * 100_000}, "input"),
        ("/v1/rerank", {"query": "a", "documents": ["a"] * 100_000}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [{"a": "a"}] * 100_000}, "documents"),
        ("/v1/completions", {"prompt": ["a"] * 100, "n": 100}, "n"),
        ("/v1/completions", {"prompt": "a", "stop": ["s" * 5000]}, "stop.0"),
    ],
)
async def test_more_of_anything_than_makes_sense(
    client: Client, path: str, fields: dict[str, Any], param: str
) -> None:
    model = CHAT.name if "completions" in path else EMBEDDING.name
    answer = await client.post(path, {"model": model, **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert answer.headers["x-should-retry"] == "false"


async def test_more_bytes_than_an_engine_takes_at_once_are_embedded_all_the_same(client: Client) -> None:
    texts = ["c" * 100_000] * 12
    answer = await client.post("/v1/embeddings", {"model": EMBEDDING.name, "input": texts})
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == len(texts)


async def test_a_text_to_embed_is_cut_where_no_engine_reads_any_further() -> None:
    short = msgspec.structs.replace(EMBEDDING, context_length=10)
    assert len(shortened("x" * 10_000, short)) == 10 * MOST_BYTES_A_TOKEN
    assert shortened("x" * 10_000, EMBEDDING) == "x" * 10_000


async def test_what_is_told_is_what_may_be_asked_for(client: Client, url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"authorization": "Bearer any"}) as http:
        told = (await http.get(f"/v1/models/{CHAT.name}")).json()["context_length"]
    assert (await client.complete("one", max_tokens=told - 1))["usage"]["completion_tokens"]
    error = await client.refused("/v1/completions", prompt="one", max_tokens=told + 1)
    assert error["message"].startswith(f"This model's maximum context length is {told} tokens")
