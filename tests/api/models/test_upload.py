"""POST /models and /jobs as clients see them; no job worker runs here, so that every job stays queued."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.support.engines import model
from tests.support.http import asking
from tests.support.platform import api

from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.features.models.upload_args import NAME, UploadArgs
from tutti.jobs.queue import enqueue
from tutti.store.db import Database, database_url
from tutti.store.records import JobEvent, JobRow

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = model("llamacpp", name="test/base")
MODELS = [
    BASE,
    model(name="test/echo"),
    model("llamacpp", name="test/embedding", type="embedding"),
    model("llamacpp", name="test/secret", project_id="prj-another"),
    model("llamacpp", name="test/adapter", adapter_of="test/base"),
]
TOKEN = "hf_very_secret_token"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        api(folder, MODELS, aliases={"short": "test/base"}) as url,
        asking(url) as client,
    ):
        yield client


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/models", json={"model_name": "mine", "model_source": "me/model", **fields})


async def test_the_answer_and_the_queued_job(client: httpx.AsyncClient) -> None:
    answer = await post(client, model_name="first", hf_token=TOKEN, description="what it is")
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "Processing model weights. Job created."
    data = body["data"]
    assert (data["model_name"], data["model_source"]) == ("default/first", "huggingface")
    assert data["job_id"].startswith("job-")
    assert data["model_id"].startswith("model-")
    job = (await client.get(f"/v1/jobs/{data['job_id']}")).json()
    assert (job["type"], job["job_id"], job["status"]) == ("model_upload", data["job_id"], "Queued")
    assert job["args"] == {
        "description": "what it is",
        "modelName": "default/first",
        "modelSource": "me/model",
    }
    assert [it["status"] for it in job["status_updates"]] == ["Queued"]
    assert job["created_at"] == job["updated_at"] == job["status_updates"][0]["timestamp"]
    assert job["created_at"].endswith("Z")
    assert job in (await client.get("/v1/jobs")).json()["data"]


async def test_a_name_with_an_owner_is_kept(client: httpx.AsyncClient) -> None:
    assert (await post(client, model_name="acme/second")).json()["data"]["model_name"] == "acme/second"


async def test_a_name_is_given_once(client: httpx.AsyncClient) -> None:
    assert (await post(client, model_name="once")).status_code == 200
    for name in ("once", "default/once", "test/base"):
        again = await post(client, model_name=name)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "model_exists")
        assert again.headers["x-should-retry"] == "false"


async def test_an_adapter_takes_its_base_by_any_name(client: httpx.AsyncClient) -> None:
    for number, fields in enumerate(
        [{"base_model": "test/base"}, {"base_model": "short"}, {"lora_model": "test/base"}]
    ):
        answer = await post(client, model_name=f"adapter-{number}", model_type="adapter", **fields)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model_name": "a/b/c"}, 400, "model_name"),
        ({"model_name": "../up"}, 400, "model_name"),
        ({"model_name": ""}, 400, "model_name"),
        ({"model_name": "x" * 161}, 400, "model_name"),
        ({"model_name": 7}, 400, "model_name"),
        ({"model_source": "model"}, 400, "model_source"),
        ({"model_source": "/etc"}, 400, "model_source"),
        ({"model_source": "https://example.com/x.bin"}, 400, "model_source"),
        ({"model_source": "http://local host/x.gguf"}, 400, "model_source"),
        ({"model_source": "http://[::1]/x.gguf"}, 400, "model_source"),
        ({"model_type": "lora"}, 400, "model_type"),
        ({"model_type": "adapter"}, 400, "base_model"),
        ({"model_type": "adapter", "base_model": "test/nothing"}, 404, "base_model"),
        ({"model_type": "adapter", "base_model": "test/secret"}, 404, "base_model"),
        ({"model_type": "adapter", "base_model": "test/echo"}, 400, "base_model"),
        ({"model_type": "adapter", "base_model": "test/embedding"}, 400, "base_model"),
        ({"model_type": "adapter", "base_model": "test/adapter"}, 400, "base_model"),
    ],
    ids=str,
)
async def test_bad_requests_name_the_field(
    client: httpx.AsyncClient, fields: dict[str, Any], status: int, param: str
) -> None:
    before = (await client.get("/v1/jobs")).json()
    answer = await post(client, **{"model_name": "bad", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert (await client.get("/v1/jobs")).json() == before


async def test_secrets_are_nowhere_in_the_open(client: httpx.AsyncClient, folder: Path) -> None:
    signed = "https://example.com/x.gguf?X-Amz-Signature=very_secret_signature"
    answer = await post(client, model_name="signed", model_source=signed, hf_token=TOKEN)
    job = (await client.get(f"/v1/jobs/{answer.json()['data']['job_id']}")).json()
    assert job["args"]["modelSource"] == "https://example.com/x.gguf"
    everything = (await client.get("/v1/jobs")).text.encode() + answer.content
    for data in (everything, *(path.read_bytes() for path in folder.glob("*.db*"))):
        assert TOKEN.encode() not in data
        assert b"very_secret_signature" not in data


async def test_jobs_of_another_project_and_of_other_kinds_are_not_found(
    client: httpx.AsyncClient, folder: Path
) -> None:
    database = await Database.open(database_url(Settings(data_dir=folder)))
    args = UploadArgs(model_name="x", model_id="m", source="s", description=None, base=None, sealed="")
    async with database.begin() as session:
        theirs = await enqueue(session, NAME, args, project_id="prj-another")
        project = (await session.get_one(JobRow, await _any_job(client))).project_id
        other = await enqueue(session, "batch", args, project_id=project)
    await database.close()
    for job_id in (theirs, other, "job-nothing"):
        answer = await client.get(f"/v1/jobs/{job_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
        assert job_id not in (await client.get("/v1/jobs")).text


@pytest.mark.parametrize(
    ("status", "error", "shown", "message"),
    [
        ("running", "", "Running", "Downloading"),
        ("completed", "", "Complete", "Job is Complete"),
        ("failed", "no such file", "Failed", "no such file"),
        ("cancelled", "", "Failed", "Job was cancelled"),
    ],
)
async def test_the_statuses_of_the_contract(
    client: httpx.AsyncClient, folder: Path, status: str, error: str, shown: str, message: str
) -> None:
    job_id = (await post(client, model_name=f"status-{status}")).json()["data"]["job_id"]
    database = await Database.open(database_url(Settings(data_dir=folder)))
    async with database.begin() as session:
        row = await session.get_one(JobRow, job_id)
        row.status, row.error = status, error
        row.finished_at = None if status == "running" else now() - 5
        session.add(JobEvent(job_id=job_id, at=now() - 9, data={"message": "Downloading"}))
    await database.close()
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["status"] == shown
    assert job["status_updates"][-1]["message"] == message
    assert job["status_updates"][1]["message"] == "Downloading"
    assert job["updated_at"] == job["status_updates"][-1]["timestamp"]


async def _any_job(client: httpx.AsyncClient) -> str:
    return (await client.get("/v1/jobs")).json()["data"][0]["job_id"]
