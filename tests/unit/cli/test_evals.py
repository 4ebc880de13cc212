"""`tutti evals` sends what `tg evals` does."""

import json

import pytest
from aiohttp import web
from tests.unit.cli.conftest import Scripted

JUDGE = ["--judge-model", "j", "--judge-system-template", "Judge {{ x }}."]
CREATED = {"workflow_id": "eval-1", "status": "pending"}
SENT_JUDGE = {"model": "j", "model_source": "serverless", "system_template": "Judge {{ x }}."}
JOB = {
    "workflow_id": "eval-1",
    "type": "compare",
    "status": "completed",
    "created_at": "2026-11-21T10:20:30Z",
    "results": {"A_wins": 3, "B_wins": 1, "Ties": 0, "result_file_id": "file-9"},
}


async def created(scripted: Scripted, *options: str) -> dict[str, object]:
    scripted.answers = [web.json_response(CREATED)]
    ran = await scripted.run("evals", "create", *JUDGE, "--input-data-file-path", "file-1", *options)
    assert (ran.status, ran.out) == (0, "eval-1\n"), ran.err
    (path, body) = scripted.asked[0]
    assert path == "/v1/evaluation"
    return body


async def test_create_classify(scripted: Scripted) -> None:
    options = (
        "--type classify --labels good,bad --pass-labels good --model-field answer --judge-num-workers 3"
    )
    assert await created(scripted, *options.split()) == {
        "type": "classify",
        "parameters": {
            "judge": {**SENT_JUDGE, "num_workers": 3},
            "labels": ["good", "bad"],
            "pass_labels": ["good"],
            "model_to_evaluate": "answer",
            "input_data_file_path": "file-1",
        },
    }


async def test_create_score_of_a_model(scripted: Scripted) -> None:
    options = (
        "--type score --min-score 0 --max-score 10 --pass-threshold 5 --model-to-evaluate m "
        "--model-to-evaluate-source external --model-to-evaluate-external-api-token t "
        "--model-to-evaluate-external-base-url https://x/v1 --model-to-evaluate-input-template {{q}}"
    )
    body = await created(scripted, *options.split())
    assert body["parameters"] == {
        "judge": SENT_JUDGE,
        "min_score": 0,
        "max_score": 10,
        "pass_threshold": 5,
        "model_to_evaluate": {
            "model": "m",
            "model_source": "external",
            "external_api_token": "t",
            "external_base_url": "https://x/v1",
            "max_tokens": 16000,
            "temperature": 0,
            "system_template": "",
            "input_template": "{{q}}",
        },
        "input_data_file_path": "file-1",
    }


async def test_create_compare(scripted: Scripted) -> None:
    options = "--type compare --model-a-field a --model-b m --model-b-input-template x"
    body = await created(scripted, *options.split(), "--disable-position-bias-correction")
    assert body["parameters"]["model_a"] == "a" and body["parameters"]["model_b"]["model"] == "m"
    assert body["parameters"]["disable_position_bias_correction"] is True


@pytest.mark.parametrize(
    "options",
    [
        "--model-a-field a --model-a m",
        "--model-a-field a --model-a-temperature 1",
        "--model-b-source external",
    ],
)
async def test_a_field_or_a_model(scripted: Scripted, options: str) -> None:
    ran = await scripted.run(
        *("evals", "create", "--type", "compare", *JUDGE, "--input-data-file-path", "f", *options.split())
    )
    assert ran.status == 2 and scripted.asked == []


async def test_list_retrieve_and_status(scripted: Scripted) -> None:
    scripted.answers = [web.json_response([JOB]), web.json_response(JOB), web.json_response(JOB)]
    listed = await scripted.run("evals", "list", "--status", "completed", "--limit", "2")
    assert scripted.asked[0][0] == "/v1/evaluation?status=completed&limit=2"
    assert "eval-1" in listed.out and "A 3, B 1, ties 0" in listed.out
    assert "file-9" in (await scripted.run("evals", "retrieve", "eval-1")).out
    ran = await scripted.run("evals", "status", "eval-1", "--json")
    assert json.loads(ran.out) == JOB and scripted.asked[2][0] == "/v1/evaluation/eval-1/status"
