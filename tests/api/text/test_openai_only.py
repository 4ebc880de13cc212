"""What is taken where a client speaks OpenAI's API; where it speaks Together's, a 400 says why not."""

import pytest
from tests.api.text.conftest import EMBEDDING, Client

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("effort", ["none", "minimal", "xhigh", "max", "low"])
async def test_efforts(client: Client, effort: str) -> None:
    answer = await client.chat("hi", prefix="/openai/v1", reasoning_effort=effort)
    assert answer["choices"][0]["message"]["content"] == "hi"
    if effort != "low":
        error = await client.refused(reasoning_effort=effort)
        assert (error["param"], "/openai/v1" in error["message"]) == ("reasoning_effort", True)


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]]])
async def test_token_ids_are_refused_with_what_to_do_in_togethers_form(
    client: Client, ids: list[int]
) -> None:
    error = await client.refused("/v1/completions", prompt=ids)
    assert (error["param"], "/openai/v1" in error["message"]) == ("prompt", True)
    response = await client.post("/v1/embeddings", {"model": EMBEDDING.name, "input": ids})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"
    assert "check_embedding_ctx_length=False" in response.json()["error"]["message"]


@pytest.mark.parametrize("ids", [[-1], [1.5], [[1], "a"], [[]], [[2**40]], [True, "a"]])
async def test_what_is_no_list_of_token_ids_names_the_field(client: Client, ids: object) -> None:
    for path, name, model in (
        ("completions", "prompt", "test/chat"),
        ("embeddings", "input", EMBEDDING.name),
    ):
        response = await client.post(f"/openai/v1/{path}", {"model": model, name: ids})
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"].startswith(name)


async def test_an_engine_that_fills_no_middle_says_so(client: Client) -> None:
    assert (await client.refused("/v1/completions", suffix="end"))["param"] == "suffix"
    deep = '{"a":' * 500 + "1" + "}" * 500
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": deep}}
    error = await client.refused(messages=[{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert "levels deep" in error["message"]
