from urllib.parse import unquote

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENAI = {"user-agent": "OpenAI/Python 3.52.0"}


async def test_together_clients_get_a_bare_array(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models")
    models = {model["id"]: model for model in answer.json()}
    assert answer.headers["vary"] == "user-agent"
    assert models["test/chat-model"] == {
        "id": "test/chat-model",
        "object": "model",
        "created": 7,
        "type": "chat",
        "display_name": "chat-model",
        "organization": "test",
        "license": "mit",
        "context_length": 2048,
        "pricing": {"hourly": 0, "input": 0.5, "output": 0, "base": 0, "finetune": 0},
        "status": "downloaded",
    }
    assert models["test/far"]["status"] == "loaded"
    assert {it["status"] for it in models.values()} == {"loaded", "downloaded", "available"}
    assert all(model["pricing"] for model in models.values())


async def test_openai_clients_get_a_list_object(client: httpx.AsyncClient) -> None:
    by_agent = (await client.get("/v1/models", headers=OPENAI)).json()
    by_prefix = (await client.get("/openai/v1/models")).json()
    assert by_agent == by_prefix
    assert by_agent["object"] == "list"
    assert all(
        model["object"] == "model" and model["owned_by"] and isinstance(model["created"], int)
        for model in by_agent["data"]
    )
    assert "test/plain" in [model["id"] for model in by_agent["data"]]


async def test_what_the_server_was_started_with_comes_first(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json()[0]["id"] == "test/plain"


async def test_no_model_has_a_dedicated_endpoint_yet(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models", params={"dedicated": "true"})).json() == []
    assert (await client.get("/v1/models", params={"dedicated": "false"})).json() != []
    wrong = await client.get("/v1/models", params={"dedicated": "perhaps"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "dedicated")


@pytest.mark.parametrize("path", ["test/chat-model", "test%2Fchat-model", "test%2fchat-model"])
async def test_retrieves_a_model_by_a_name_with_slashes(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/v1/models/{path}")
    assert (answer.status_code, answer.json()["id"]) == (200, "test/chat-model")
    assert "owned_by" not in answer.json()
    openai = (await client.get(f"/v1/models/{path}", headers=OPENAI)).json()
    assert (openai["id"], openai["owned_by"]) == ("test/chat-model", "test")


@pytest.mark.parametrize("path", ["test%252Fchat-model", "test%2Fchat-model%2520"])
async def test_a_name_is_decoded_once(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/v1/models/{path}")
    assert answer.status_code == 404
    assert unquote(path) in answer.json()["error"]["message"]


async def test_an_alias_is_described_under_its_own_name(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/models/meta-llama/Llama-3-8B")).json()
    assert (answer["id"], answer["type"]) == ("meta-llama/Llama-3-8B", "chat")


@pytest.mark.parametrize("name", ["test/nothing", "test/secret"])
async def test_unknown_models_and_those_of_another_project_are_not_found(
    client: httpx.AsyncClient, name: str
) -> None:
    answer = await client.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    assert name in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_models_of_another_project_are_not_listed(client: httpx.AsyncClient) -> None:
    assert "test/secret" not in (await client.get("/v1/models")).text


async def test_a_missing_key_of_a_remote_model_is_the_operators_to_set_and_takes_no_slot(
    client: httpx.AsyncClient,
) -> None:
    for stream in (False, True, False, False, False, False):
        body = {"model": "test/far", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        answer = await client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_load_failed")
        assert "set the environment variable NOT_SET" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
