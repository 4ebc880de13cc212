import pytest
from pydantic import TypeAdapter
from tests.api.text.conftest import CHAT, Client

from tutti.features.text.responses import CompletionChunk, CompletionResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = TypeAdapter(CompletionResponse)
CHUNK = TypeAdapter(CompletionChunk)


async def test_an_answer_is_as_the_contract_says(client: Client) -> None:
    answer = await client.complete("one two", seed=3)
    ANSWER.validate_python(answer, strict=True)
    assert answer["object"] == "text.completion"
    assert answer["prompt"] == []
    (choice,) = answer["choices"]
    assert (choice["text"], choice["seed"], choice["finish_reason"]) == ("one two", 3, "eos")


async def test_chunks_are_as_the_contract_says(client: Client) -> None:
    chunks = await client.complete("one two", stream=True, seed=3, logprobs=1)
    for chunk in chunks:
        CHUNK.validate_python(chunk, strict=True)
        assert chunk["object"] == "completion.chunk"
        assert chunk["seed"] == 3
    assert [chunk["token"]["text"] for chunk in chunks] == ["one", " two", ""]
    assert [chunk["choices"][0]["delta"].get("token_id") for chunk in chunks][:2] == [
        chunk["token"]["id"] for chunk in chunks[:2]
    ]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "one two"
    assert [chunk["finish_reason"] for chunk in chunks] == [None, None, "eos"]
    assert [bool(chunk["usage"]) for chunk in chunks] == [False, False, True]


async def test_echo_returns_the_prompt_beside_the_text(client: Client) -> None:
    answer = await client.complete("one two", echo=True, logprobs=1)
    assert answer["choices"][0]["text"] == "one two"
    (prompt,) = answer["prompt"]
    assert prompt["text"] == "one two"
    assert prompt["logprobs"]["tokens"] == ["one", " two"]
    first, *_ = await client.complete("one two", echo=True, stream=True)
    assert first["prompt"][0]["text"] == "one two"


async def test_openais_clients_get_openais_form(client: Client) -> None:
    asked = {"prefix": "/openai/v1", "echo": True, "logprobs": 1}
    answer = await client.complete("one two", **asked)
    assert answer["object"] == "text_completion"
    (choice,) = answer["choices"]
    assert choice["text"] == "one twoone two"
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"]["tokens"] == ["one", " two", "one", " two"]
    assert choice["logprobs"]["text_offset"] == [0, 3, 7, 10]
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert len(choice["logprobs"]["top_logprobs"]) == 4
    options = {"stream_options": {"include_usage": True}}
    *chunks, last = await client.complete("one two", stream=True, **asked, **options)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
    offsets = [it for chunk in chunks for it in chunk["choices"][0]["logprobs"]["text_offset"]]
    assert offsets == choice["logprobs"]["text_offset"]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 2)


async def test_several_prompts_give_their_choices_in_order(client: Client) -> None:
    answer = await client.complete(["a b", "c"], n=2, echo=True)
    assert [choice["text"] for choice in answer["choices"]] == ["a b", "a b", "c", "c"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [piece["text"] for piece in answer["prompt"]] == ["a b", "c"]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}


async def test_stop_and_max_tokens_end_the_text(client: Client) -> None:
    answer = await client.complete("one two three", stop=[" three"])
    assert answer["choices"][0]["text"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "stop"
    answer = await client.complete("one two three", max_tokens=1)
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("prompt", [None, 5, [], [1, 2], {"text": "x"}])
async def test_a_prompt_that_is_not_text_is_refused(client: Client, prompt: object) -> None:
    error = await client.refused("/v1/completions", prompt=prompt)
    assert error["param"].split(".")[0] == "prompt"


async def test_a_missing_prompt_is_named(client: Client) -> None:
    response = await client.post("/v1/completions", {"model": CHAT.name})
    assert response.json()["error"]["param"] == "prompt"
