import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = ["London is in England.", "Paris is the capital of France.", "Berlin is big."]
OBJECTS = [
    {"title": "Llama", "text": "The llama is a domesticated South American camelid", "year": 1},
    {"title": "Panda", "text": "The giant panda is endemic to China", "year": 2},
    {"title": "Größe", "text": "is endemic to China too", "year": {"a": [1, None]}},
]


async def rerank(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"model": "test/rerank", "query": "the capital of France", "documents": DOCUMENTS, **body}
    return await client.post("/rerank", json=asked)


async def results(client: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await rerank(client, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def refused(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await rerank(client, **body)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


async def test_sorts_documents_by_relevance(client: httpx.AsyncClient) -> None:
    response = await rerank(client)
    answer = response.json()
    assert (answer["object"], answer["model"]) == ("rerank", "test/rerank")
    assert answer["id"] == response.headers["x-request-id"]
    scores = [result["relevance_score"] for result in answer["results"]]
    assert answer["results"][0]["index"] == 1
    assert sorted(result["index"] for result in answer["results"]) == [0, 1, 2]
    assert scores == sorted(scores, reverse=True)
    assert all(result["document"] == {} for result in answer["results"])
    usage = answer["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] > 0
    assert usage["completion_tokens"] == 0


async def test_returns_the_best_n_with_their_documents(client: httpx.AsyncClient) -> None:
    (best,) = await results(client, top_n=1, return_documents=True)
    assert (best["index"], best["document"]) == (1, {"text": DOCUMENTS[1]})
    assert len(await results(client, top_n=10)) == 3


async def test_equal_scores_keep_the_order_of_the_documents(client: httpx.AsyncClient) -> None:
    found = await results(client, documents=["same"] * 5)
    assert [result["index"] for result in found] == [0, 1, 2, 3, 4]


async def test_ranks_more_documents_than_one_engine_batch(client: httpx.AsyncClient) -> None:
    documents = [f"nothing here {number}" for number in range(150)]
    documents[140] = "the capital of France"
    assert (await results(client, documents=documents))[0]["index"] == 140


async def test_object_documents_are_returned_as_json(client: httpx.AsyncClient) -> None:
    found = await results(client, query="giant panda", documents=OBJECTS, return_documents=True)
    assert found[0]["index"] == 1
    assert {result["index"]: json.loads(result["document"]["text"]) for result in found} == dict(
        enumerate(OBJECTS)
    )
    assert found[0]["document"]["text"].startswith('{"title":"Panda","text":"The giant panda')


async def test_rank_fields_choose_what_is_compared(client: httpx.AsyncClient) -> None:
    by_title = await results(client, query="Llama", documents=OBJECTS, rank_fields=["title"])
    by_text = await results(client, query="endemic China too", documents=OBJECTS, rank_fields=["text"])
    assert (by_title[0]["index"], by_text[0]["index"]) == (0, 2)


async def test_a_rank_field_that_a_document_lacks_is_refused(client: httpx.AsyncClient) -> None:
    error = await refused(client, documents=OBJECTS, rank_fields=["body"])
    assert error["param"] == "rank_fields"
    assert "body" in error["message"]


async def test_an_embedding_model_reranks_too(client: httpx.AsyncClient) -> None:
    assert (await results(client, model="test/embedding"))[0]["index"] == 1


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("documents", []),
        ("documents", "text"),
        ("documents.0", [1]),
        ("top_n", 0),
        ("top_n", "two"),
        ("rank_fields", "title"),
        ("query", None),
        ("return_documents", "yes"),
        ("extra", 1),
    ],
)
async def test_names_the_field_that_is_wrong(client: httpx.AsyncClient, field: str, wrong: Any) -> None:
    error = await refused(client, **{field.partition(".")[0]: wrong})
    assert error["param"] == field


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([], "`documents` must not be empty."),
        (["text", {}], "`documents.1` should be a valid string."),
        ([{}, "text"], "`documents.1` should be a valid dictionary."),
    ],
)
async def test_documents_are_all_as_the_first(client: httpx.AsyncClient, wrong: Any, told: str) -> None:
    assert (await refused(client, documents=wrong))["message"] == told


async def test_a_model_of_another_type_is_refused_by_name(client: httpx.AsyncClient) -> None:
    error = await refused(client, model="test/chat")
    assert error["param"] == "model"
    assert "test/chat" in error["message"]
