"""What an evaluation says of itself, and how it ends when it cannot be done."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.api.evaluations.conftest import DATA, Client, asked, judge, writer
from tests.support.platform import job_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_data_stay_as_long_as_they_are_needed(url: str, client: Client, folder: Path) -> None:
    created = await client.create("classify", **asked("classify", file_id := await client.upload(DATA)))
    assert (await client.http.delete(f"/v1/files/{file_id}")).status_code == 409
    async with job_worker(folder):
        assert (await client.ended(created.json()["workflow_id"]))["status"] == "completed"
    assert (await client.http.delete(f"/v1/files/{file_id}")).status_code == 200


async def test_every_status_is_told_with_its_time(working: str, client: Client) -> None:
    done = await client.evaluate("classify", DATA)
    updates = done["status_updates"]
    assert [it["status"] for it in updates] == ["pending", "queued", "running", "completed"]
    times = [datetime.fromisoformat(it["timestamp"]) for it in updates]
    assert times == sorted(times) and all(it["message"] for it in updates)
    assert datetime.fromisoformat(done["created_at"]) <= datetime.fromisoformat(done["updated_at"])
    status = (await client.http.get(f"/v1/evaluation/{done['workflow_id']}/status")).json()
    assert status == {"status": "completed", "results": done["results"]}
    file = (await client.http.get(f"/v1/files/{done['results']['result_file_id']}")).json()
    assert (file["purpose"], file["FileType"], file["Processed"]) == ("eval-output", "jsonl", True)


@pytest.mark.parametrize(
    ("rows", "parameters", "expected"),
    [
        (
            DATA,
            {"judge": judge(system_template="{{ nope }}")},
            "Row 1: `judge.system_template`: 'nope' is und",
        ),
        (
            DATA,
            {"model_to_evaluate": writer(input_template="{{ text.x.y }}")},
            "`model_to_evaluate.input_temp",
        ),
        (DATA, {"model_to_evaluate": "nope"}, "Row 1 has no field `nope`; it has `text`."),
        ("text\n", {}, "has no rows"),
        ([*DATA, "no object"], {}, "Line 4 of the data cannot be read. It is not a JSON object"),
        (
            "text\n1,2\n",
            {},
            "Line 2 of the data cannot be read. The row has 2 cells",
        ),
        (DATA, {"judge": judge(system_template="{{ text * 10 ** 12 }}")}, "more than 512 MiB"),
    ],
)
async def test_what_its_owner_can_mend_is_a_user_error(
    working: str, client: Client, rows: Sequence[Any] | str, parameters: dict[str, Any], expected: str
) -> None:
    done = await client.evaluate("classify", rows, **parameters)
    assert done["status"] == "user_error" and expected in done["results"]["error"]
    assert done["status_updates"][-1]["message"] == done["results"]["error"]


async def test_what_its_owner_cannot_mend_is_an_error(working: str, client: Client) -> None:
    done = await client.evaluate("classify", [{"text": "[[error 500]]"}])
    assert done["status"] == "error" and "No row could be evaluated" in done["results"]["error"]


async def test_a_template_that_fails_for_some_rows_fails_those_only(working: str, client: Client) -> None:
    rows = [{"text": "good [[this]]", "n": 1}, {"text": "bad [[this]]"}]
    done = await client.evaluate("classify", rows, judge=judge(system_template="{{ n }}"))
    assert done["status"] == "completed"
    assert (done["results"]["judge_fail_count"], done["results"]["pass_percentage"]) == (1, 100.0)
    message = (await client.lines(done))[1]["errors"][0]["message"]
    assert message == "Row 2: `judge.system_template`: 'n' is undefined; the row has `text`."
