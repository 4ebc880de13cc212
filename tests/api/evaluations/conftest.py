"""A server with an echo engine that judges, and a job worker beside it that may reach this machine."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.support.engines import Running, model, running
from tests.support.http import asking
from tests.support.patience import limit
from tests.support.platform import api, job_worker

from tutti.engines.echo import Echo
from tutti.fetch.fetch import Fetcher

CHAT = model(name="test/chat", context_length=8192)
EMBEDDING = model(name="test/embedding", type="embedding")
SECRET = model(name="test/secret", project_id="prj-another")
DATA = [{"text": f"row {number}"} for number in range(3)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Running]:
    async with running(Echo(), CHAT) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(folder: Path, engine: Running) -> AsyncIterator[str]:
    """Accepts evaluations; nobody works them off."""
    async with api(folder, [CHAT, EMBEDDING, SECRET], {CHAT.name: engine.address}) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(url: str, folder: Path) -> AsyncIterator[str]:
    """A worker works them off, and takes this machine's servers for external ones."""
    async with job_worker(folder, Fetcher(allow=lambda address: address.is_loopback)):
        yield url


class Client:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def upload(
        self, rows: Sequence[Any] | str | bytes, name: str = "data.jsonl", purpose: str = "eval"
    ) -> str:
        """The id of the file."""
        data = rows if isinstance(rows, str | bytes) else "".join(json.dumps(row) + "\n" for row in rows)
        form = {"purpose": purpose, "file_name": name, "file_type": name.rpartition(".")[2]}
        answer = await self.http.post("/v1/files/upload", data=form, files={"file": (name, data)})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    async def create(self, type_: str, **parameters: Any) -> httpx.Response:
        return await self.http.post("/v1/evaluation", json={"type": type_, "parameters": parameters})

    async def evaluate(self, type_: str, rows: Sequence[Any] | str, **parameters: Any) -> dict[str, Any]:
        """The evaluation once it has ended."""
        name = "data.csv" if isinstance(rows, str) else "data.jsonl"
        answer = await self.create(type_, **asked(type_, await self.upload(rows, name), **parameters))
        assert answer.status_code == 200, answer.text
        return await self.ended(answer.json()["workflow_id"])

    async def ended(self, id: str, within_s: float = 60.0) -> dict[str, Any]:
        async with asyncio.timeout(limit(within_s)):
            while True:
                found = (await self.http.get(f"/v1/evaluation/{id}")).json()
                if found["status"] not in ("pending", "queued", "running"):
                    return found
                await asyncio.sleep(0.05)

    async def lines(self, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
        """Of the result file."""
        answer = await self.http.get(f"/v1/files/{evaluation['results']['result_file_id']}/content")
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with asking(url) as http:
        yield Client(http)


def judge(**fields: Any) -> dict[str, Any]:
    return {"model": CHAT.name, "model_source": "serverless", "system_template": "Judge.", **fields}


def writer(**fields: Any) -> dict[str, Any]:
    return {
        "model": CHAT.name,
        "model_source": "serverless",
        "system_template": "Answer.",
        "input_template": "{{ text }}",
        "max_tokens": 100,
        "temperature": 0,
        **fields,
    }


def asked(type_: str, file_id: str, **parameters: Any) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "classify": {"labels": ["good", "bad"], "pass_labels": ["good"]},
        "score": {"min_score": 0, "max_score": 10, "pass_threshold": 5},
        "compare": {"model_a": "a", "model_b": "b"},
    }
    given = {"judge": judge(), "input_data_file_path": file_id, **kinds[type_], **parameters}
    return {name: value for name, value in given.items() if value is not ...}
