import asyncio
import base64
import math
import struct
from typing import Any

import httpx
import pytest
from tests.support.patience import limit

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def embed(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/embeddings", json={"model": "test/embedding", **body})


async def vectors(client: httpx.AsyncClient, **body: Any) -> list[list[float]]:
    answer = await embed(client, **body)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["embedding"] for row in rows]


async def refused(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await embed(client, **body)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


async def test_embeds_a_string(client: httpx.AsyncClient) -> None:
    answer = (await embed(client, input="two words")).json()
    assert (answer["object"], answer["model"]) == ("list", "test/embedding")
    (row,) = answer["data"]
    assert (row["object"], row["index"], len(row["embedding"])) == ("embedding", 0, 384)
    assert math.hypot(*row["embedding"]) == pytest.approx(1, abs=1e-5)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


async def test_keeps_the_order_of_more_texts_than_one_engine_batch(client: httpx.AsyncClient) -> None:
    texts = [f"text number {number}" for number in range(150)]
    together = await vectors(client, input=texts)
    assert len(together) == 150
    for number in (0, 63, 64, 127, 128, 149):
        assert together[number] == (await vectors(client, input=texts[number]))[0]


async def test_counts_the_tokens_of_every_batch(client: httpx.AsyncClient) -> None:
    one = (await embed(client, input="three small words")).json()["usage"]["prompt_tokens"]
    many = (await embed(client, input=["three small words"] * 130)).json()["usage"]["prompt_tokens"]
    assert many == 130 * one


async def test_base64_is_the_same_numbers_as_little_endian_float32(client: httpx.AsyncClient) -> None:
    (numbers,) = await vectors(client, input="hello")
    (text,) = await vectors(client, input="hello", encoding_format="base64")
    assert struct.unpack("<384f", base64.b64decode(text)) == tuple(numbers)


async def test_accepts_an_empty_string_and_what_openai_adds(client: httpx.AsyncClient) -> None:
    assert len(await vectors(client, input=["", "x"], user="somebody", encoding_format=None)) == 2


async def test_shortens_only_vectors_that_were_trained_for_it(client: httpx.AsyncClient) -> None:
    (full,) = await vectors(client, model="test/matryoshka", input="hello")
    (short,) = await vectors(client, model="test/matryoshka", input="hello", dimensions=100)
    norm = math.hypot(*full[:100])
    assert short == pytest.approx([number / norm for number in full[:100]], abs=1e-6)
    assert await vectors(client, input="hello", dimensions=384)
    for body in ({"dimensions": 100}, {"model": "test/matryoshka", "dimensions": 385}):
        error = await refused(client, input="hello", **body)
        assert error["param"] == "dimensions"
        assert "384" in error["message"]


@pytest.mark.parametrize("wrong", [[], 5, None, [1, 2], [[1, 2]], ["a", 1], {"a": "b"}])
async def test_names_the_field_where_the_input_is_not_text(client: httpx.AsyncClient, wrong: Any) -> None:
    error = await refused(client, input=wrong)
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith("input")
    assert (error["message"] == "`input` must not be empty.") == (wrong == [])


@pytest.mark.parametrize(
    ("field", "wrong"), [("encoding_format", "int8"), ("dimensions", 0), ("dimensions", "a"), ("model", 1)]
)
async def test_names_other_fields_that_are_wrong(client: httpx.AsyncClient, field: str, wrong: Any) -> None:
    assert (await refused(client, **{"input": "x", field: wrong}))["param"] == field


async def test_a_model_of_another_type_is_refused_by_name(client: httpx.AsyncClient) -> None:
    error = await refused(client, input="x", model="test/chat")
    assert error["param"] == "model"
    assert "test/chat" in error["message"]
    assert "chat" in error["message"]


async def test_an_unknown_model_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await embed(client, input="x", model="test/embeding")
    assert answer.status_code == 404
    assert "test/embedding" in answer.json()["error"]["message"]


async def test_requests_are_metered_under_their_operation(client: httpx.AsyncClient) -> None:
    await embed(client, input="counted words")
    await client.post("/rerank", json={"model": "test/rerank", "query": "q", "documents": ["d"]})
    async with asyncio.timeout(limit(60)):
        while not {"embeddings", "rerank"} <= (operations := await used(client)).keys():
            await asyncio.sleep(0.1)
    assert operations["embeddings"]["prompt_tokens"] > 0
    assert operations["rerank"]["completion_tokens"] == 0


async def used(client: httpx.AsyncClient) -> dict[str, Any]:
    report = (await client.get("/billing/usage", params={"group_by": "operation"})).json()
    return {row["operation"]: row for window in report["data"] for row in window["usage"]}
