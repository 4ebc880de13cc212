"""Evaluations that would stop others, and data of odd programs."""

import asyncio
import json

import httpx
import pytest
from tests.api.evaluations.conftest import Client, asked, judge, writer

pytestmark = pytest.mark.asyncio(loop_scope="module")
ODD = "a\u2028b\u2029c\x85d\x0be\x1cf\rg\nh"


async def test_a_template_that_computes_is_refused_and_others_are_answered(url: str, client: Client) -> None:
    file_id = await client.upload([{"text": "a"}])
    given = asked("classify", file_id, model_to_evaluate=writer(input_template="{{ 7 ** (10 ** 8) }}"))
    creating, answered = asyncio.create_task(client.create("classify", **given)), 0
    async with httpx.AsyncClient(base_url=url) as other:
        while not creating.done():
            assert (await other.get("/livez")).status_code == 200
            answered += 1
    error = (await creating).json()["error"]
    assert (creating.result().status_code, error["code"]) == (400, "invalid_template")
    assert error["param"] == "parameters.model_to_evaluate.input_template"
    assert "more than 2 seconds" in error["message"]
    assert answered > 10  # one, had it been computed beside them


async def test_columns_are_reached_whatever_their_names_and_separators(working: str, client: Client) -> None:
    for data in (
        "my question,model answer\n2+2,good\n",
        "\ufeffmy question;model answer\r\n2+2;good\r\n",
        "my question\tmodel answer\n2+2\tgood\n",
    ):
        template = '{{ row["my question"] }}'
        done = await client.evaluate(
            "classify", data, judge=judge(system_template=template), model_to_evaluate="model answer"
        )
        assert done["status"] == "completed", done
        (line,) = await client.lines(done)
        assert (line["my question"], line["model answer"]) == ("2+2", "good")


async def test_a_missing_column_is_told_with_those_there_are(working: str, client: Client) -> None:
    done = await client.evaluate("classify", "my question\n2+2\n", model_to_evaluate="model answer")
    assert done["status"] == "user_error"
    assert done["results"]["error"].endswith("Row 1 has no field `model answer`; it has `my question`.")


async def test_a_byte_order_mark_is_read_past_and_lines_are_lines_for_every_reader(
    working: str, client: Client
) -> None:
    data = "\ufeff" + json.dumps({"text": ODD}, ensure_ascii=False) + "\r\n"
    file_id = await client.upload(data.encode())
    answer = await client.create("classify", **asked("classify", file_id))
    done = await client.ended(answer.json()["workflow_id"])
    assert done["status"] == "completed", done
    path = f"/v1/files/{done['results']['result_file_id']}/content"
    (line,) = (await client.http.get(path)).content.decode().splitlines()
    assert json.loads(line)["text"] == ODD


async def test_a_list_cuts_long_templates(url: str, client: Client) -> None:
    template = "x" * 60_000
    given = asked("classify", await client.upload([{"text": "a"}]), judge=judge(system_template=template))
    id = (await client.create("classify", **given)).json()["workflow_id"]
    (listed,) = (await client.http.get("/v1/evaluation", params={"limit": 1})).json()
    assert listed["workflow_id"] == id
    assert listed["parameters"]["judge"]["system_template"] == "x" * 200 + "..."
    alone = (await client.http.get(f"/v1/evaluation/{id}")).json()
    assert alone["parameters"]["judge"]["system_template"] == template
