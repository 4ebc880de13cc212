"""The steps in which clients upload a file, over httpx."""

import asyncio
import hashlib
from collections.abc import AsyncIterable
from typing import Any

import httpx
from tests.support.patience import limit

from tutti.store.db import Database
from tutti.store.records import File

LINES = b"".join(b'{"text": "line %d"}\n' % number for number in range(1000))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fields(**fields: Any) -> dict[str, Any]:
    """Return form fields as multipart parts without a file."""
    return {name: (None, value) for name, value in fields.items()}


def anyone() -> httpx.AsyncClient:
    """Return a client without a key. `verify=False` only saves the time of reading certificates."""
    return httpx.AsyncClient(verify=False, timeout=limit(120))


def with_key(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"authorization": "Bearer any"}, verify=False, timeout=limit(120)
    )


async def announce(client: httpx.AsyncClient, **said: str) -> httpx.Response:
    """Announce a file as the 2.x and 3.x clients do."""
    form = {"purpose": "fine-tune", "file_name": "train.jsonl", "file_type": "jsonl", **said}
    return await client.post("/v1/files", files=fields(**form))


async def put(location: str, data: bytes | AsyncIterable[bytes], **headers: str) -> httpx.Response:
    """Put a file's bytes, without a key."""
    async with anyone() as anybody:
        return await anybody.put(location, content=data, headers=headers)


async def upload(client: httpx.AsyncClient, data: bytes = LINES, **said: str) -> dict[str, Any]:
    """Upload a file in all three steps, and return the file object."""
    answer = await announce(client, **said)
    assert answer.status_code == 302, answer.text
    assert (await put(answer.headers["location"], data)).status_code == 200
    id = answer.headers["x-together-file-id"]
    return (await client.post(f"/v1/files/{id}/preprocess")).json()


async def files(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return (await client.get("/v1/files", params=query)).json()["data"]


async def has_begun(database: Database, file_id: str) -> None:
    """Returns once the server knows how much is being put."""
    async with asyncio.timeout(limit(60)):
        while True:
            async with database.read() as session:
                file = await session.get(File, file_id)
            if file is not None and file.size_bytes:
                return
            await asyncio.sleep(0.01)
