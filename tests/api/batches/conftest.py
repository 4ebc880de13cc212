"""A server with an echo engine, and a job worker beside it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
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

CHAT = model(name="test/chat", context_length=8192)
SHARING = model(name="test/sharing", context_length=8192, options={"shares": "cpu"})
LANGUAGE = model(name="test/language", type="language")
EMBEDDING = model(name="test/embedding", type="embedding")
RERANK = model(name="test/rerank", type="rerank")
SECRET = model(name="test/secret", project_id="prj-another")
METERED = model(name="test/metered", context_length=8192)
"""For one test only."""
MODELS = (CHAT, SHARING, METERED, LANGUAGE, EMBEDDING, RERANK)
ENDED = ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
CHATS = "/v1/chat/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Running]:
    async with running(Echo(), CHAT) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(folder: Path, engine: Running) -> AsyncIterator[str]:
    """Accepts batches; nobody works them off."""
    addresses = {it.name: engine.address for it in MODELS}
    async with api(folder, [*MODELS, SECRET], addresses) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def working(url: str, folder: Path) -> AsyncIterator[str]:
    async with job_worker(folder):
        await asyncio.sleep(0.8)  # until it would hear clients' requests
        yield url


class Client:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def upload(self, lines: Iterable[Any] | str, **said: str) -> str:
        """The file's id."""
        text = lines if isinstance(lines, str) else "\n".join(map(json.dumps, lines))
        fields = {"file_name": "requests.jsonl", "purpose": "batch-api", **said}
        files = {"file": (fields["file_name"], text.encode())}
        answer = await self.http.post("/v1/files/upload", data=fields, files=files)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    async def create(self, lines: Iterable[Any] | str, endpoint: str = CHATS, **said: Any) -> dict[str, Any]:
        file_id = await self.upload(lines)
        body = {"input_file_id": file_id, "endpoint": endpoint, **said}
        answer = await self.http.post("/v1/batches", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def batch(self, id: str, prefix: str = "") -> dict[str, Any]:
        return (await self.http.get(f"{prefix}/v1/batches/{id}")).json()

    async def ended(self, id: str, within_s: float = 60) -> dict[str, Any]:
        give_up_at = time.monotonic() + limit(within_s)
        while (batch := await self.batch(id))["status"] not in ENDED:
            assert time.monotonic() < give_up_at, batch
            await asyncio.sleep(0.05)
        return batch

    async def results(self, batch: Mapping[str, Any], part: str = "output") -> dict[str, dict[str, Any]]:
        """By custom_id, each of which is there once; empty where there is no such file."""
        if f"{part}_file_id" not in batch:
            return {}
        answer = await self.http.get(f"/v1/files/{batch[f'{part}_file_id']}/content")
        assert answer.status_code == 200
        lines = [json.loads(line) for line in answer.text.splitlines()]
        found = {line["custom_id"]: line for line in lines}
        assert len(found) == len(lines)
        return found


def client_of(url: str, user_agent: str = "test") -> httpx.AsyncClient:
    return asking(url, headers={"user-agent": user_agent})


@pytest_asyncio.fixture(loop_scope="module")
async def client(working: str) -> AsyncIterator[Client]:
    """Of a server whose batches are worked off."""
    async with client_of(working) as http:
        yield Client(http)


def chat(custom_id: str, content: str = "hello", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"custom_id": custom_id, "body": {"model": CHAT.name, "messages": messages, **body}}
