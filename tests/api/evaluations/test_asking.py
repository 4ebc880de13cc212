"""What may be asked for, and what one project sees of another's."""

from typing import Any

import httpx
import pytest
from tests.api.evaluations.conftest import CHAT, DATA, EMBEDDING, SECRET, Client, asked, judge, writer

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "sk-very-secret"
ELSEWHERE = {
    "model_source": "external",
    "external_base_url": "https://example.com/v1",
    "external_api_token": TOKEN,
}


async def refused(client: Client, type_: str, **parameters: Any) -> tuple[str, str]:
    """The field and the message of the 400."""
    given = asked(type_, "file-none", **parameters)
    if "input_data_file_path" not in parameters:
        given["input_data_file_path"] = await client.upload(DATA)
    answer = await client.create(type_, **given)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and answer.headers["x-should-retry"] == "false"
    return error["param"].removeprefix("parameters."), error["message"]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"labels": ...}, "labels"),
        ({"labels": ["good"]}, "labels"),
        ({"labels": ["good", "good"]}, "labels"),
        ({"labels": ["good", " "]}, "labels"),
        ({"labels": "good,bad"}, "labels"),
        ({"labels": ["good", 1]}, "labels.1"),
        ({"pass_labels": ...}, "pass_labels"),
        ({"pass_labels": []}, "pass_labels"),
        ({"pass_labels": ["good", "neutral"]}, "pass_labels"),
        ({"judge": ...}, "judge"),
        ({"judge": "test/chat"}, "judge"),
        ({"judge": {"model": "m", "model_source": "serverless"}}, "judge.system_template"),
        ({"judge": judge(model="no/such")}, "judge.model"),
        ({"judge": judge(model=EMBEDDING.name)}, "judge.model"),
        ({"judge": judge(model=SECRET.name)}, "judge.model"),
        ({"judge": judge(model_source="rented")}, "judge.model_source"),
        ({"judge": judge(system_template="{{ a")}, "judge.system_template"),
        ({"judge": judge(num_workers=0)}, "judge.num_workers"),
        ({"judge": judge(num_workers=100_000)}, "judge.num_workers"),
        ({"judge": judge(max_tokens=0)}, "judge.max_tokens"),
        ({"judge": judge(temperature=2.5)}, "judge.temperature"),
        ({"judge": judge(**{**ELSEWHERE, "external_base_url": None})}, "judge.external_base_url"),
        ({"judge": judge(**{**ELSEWHERE, "external_api_token": ""})}, "judge.external_api_token"),
        ({"judge": judge(**{**ELSEWHERE, "external_api_token": "a\r\nb"})}, "judge.external_api_token"),
        ({"model_to_evaluate": 5}, "model_to_evaluate"),
        ({"model_to_evaluate": ""}, "model_to_evaluate"),
        ({"model_to_evaluate": writer(temperature=None)}, "model_to_evaluate.temperature"),
        ({"model_to_evaluate": writer(input_template="{% if %}")}, "model_to_evaluate.input_template"),
        ({"model_to_evaluate": writer(model="no/such")}, "model_to_evaluate.model"),
        ({"input_data_file_path": ...}, "input_data_file_path"),
        ({"input_data_file_path": "file-none"}, "input_data_file_path"),
        ({"input_data_file_path": "../../etc/passwd"}, "input_data_file_path"),
    ],
)
async def test_the_error_names_the_field(client: Client, parameters: dict[str, Any], param: str) -> None:
    assert (await refused(client, "classify", **parameters))[0] == param


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:1/v1",
        "http://169.254.169.254/latest",
        "http://[::1]/v1",
        "http://10.0.0.1/v1",
        "file:///etc/passwd",
        "https://user:password@example.com/v1",
        "not a url",
        "//example.com",
    ],
)
async def test_an_external_server_is_on_the_public_internet(client: Client, base_url: str) -> None:
    external = judge(**{**ELSEWHERE, "external_base_url": base_url})
    assert (await refused(client, "classify", judge=external))[0] == "judge.external_base_url"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"min_score": 10}, "min_score"),
        ({"min_score": ...}, "min_score"),
        ({"max_score": "10"}, "max_score"),
        ({"pass_threshold": 11}, "pass_threshold"),
        ({"pass_threshold": -1}, "pass_threshold"),
    ],
)
async def test_scores_have_a_range(client: Client, parameters: dict[str, Any], param: str) -> None:
    assert (await refused(client, "score", **parameters))[0] == param


@pytest.mark.parametrize("missing", ["model_a", "model_b"])
async def test_two_are_needed_to_compare(client: Client, missing: str) -> None:
    param, message = await refused(client, "compare", **{missing: None})
    assert param == missing and "is required" in message


@pytest.mark.parametrize("body", [{}, {"type": "classify"}, {"type": "rank", "parameters": {}}, [], "x"])
async def test_a_body_of_the_wrong_shape_is_a_400(client: Client, body: Any) -> None:
    assert (await client.http.post("/v1/evaluation", json=body)).status_code == 400


async def test_files_of_other_formats_are_refused(client: Client) -> None:
    path = await client.upload(b"PAR1", "data.parquet")
    param, message = await refused(client, "classify", input_data_file_path=path)
    assert param == "input_data_file_path" and "jsonl and csv" in message


async def test_tokens_are_sealed_and_never_shown(client: Client, folder: Any) -> None:
    parameters = asked(
        "compare", await client.upload(DATA), judge=judge(**ELSEWHERE), model_a=writer(**ELSEWHERE)
    )
    created = await client.create("compare", **parameters)
    assert created.json().keys() == {"workflow_id", "status"} and created.json()["status"] == "pending"
    id = created.json()["workflow_id"]
    for path in (
        f"/evaluation/{id}",
        f"/evaluations/{id}",
        "/evaluation",
        "/evaluations",
        f"/evaluation/{id}/status",
    ):
        answer = await client.http.get("/v1" + path)
        assert (
            answer.status_code == 200 and TOKEN not in answer.text and "external_api_token" not in answer.text
        )
    shown = (await client.http.get(f"/v1/evaluation/{id}")).json()["parameters"]
    assert shown["judge"]["external_base_url"] == "https://example.com/v1"
    assert shown["model_a"]["input_template"] == "{{ text }}" and shown["model_b"] == "b"
    for path in folder.glob("tutti.db*"):
        assert TOKEN.encode() not in path.read_bytes()


async def test_lists_the_newest_first(client: Client) -> None:
    file_id = await client.upload(DATA)
    ids = [
        (await client.create("classify", **asked("classify", file_id))).json()["workflow_id"]
        for _ in range(3)
    ]
    for path in ("/v1/evaluation", "/v1/evaluations"):
        listed = (await client.http.get(path, params={"limit": 2, "status": "pending"})).json()
        assert [it["workflow_id"] for it in listed] == [ids[2], ids[1]]
    assert (await client.http.get("/v1/evaluation", params={"status": "completed"})).json() == []
    for params in ({"limit": 0}, {"limit": "many"}, {"status": "lost"}):
        assert (await client.http.get("/v1/evaluation", params=params)).status_code == 400


async def test_there_is_no_evaluation_of_another_name(client: Client) -> None:
    for path in ("/v1/evaluation/eval-none", "/v1/evaluations/eval-none", "/v1/evaluation/eval-none/status"):
        answer = await client.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "evaluation_not_found")


async def test_the_models_that_can_judge(client: Client) -> None:
    async def names(**params: str) -> httpx.Response:
        return await client.http.get("/v1/evaluation/model-list", params=params)

    for source in ({}, {"model_source": "all"}, {"model_source": "serverless"}):
        listed = (await names(**source)).json()["model_list"]
        assert CHAT.name in listed and EMBEDDING.name not in listed and SECRET.name not in listed
    for source in ("dedicated", "external"):
        assert (await names(model_source=source)).json() == {"model_list": []}
    assert (await names(model_source="x")).status_code == 400
