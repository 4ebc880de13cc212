"""Recordings by URL, in requests and in batches: a whole server that may fetch from the loopback address."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.api.audio.conftest import LISTENER
from tests.support.http import answered_by
from tests.support.patience import limit
from tests.support.whole import whole


@pytest.fixture
async def recordings() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        size_bytes = int(request.path.removeprefix("/").removesuffix(".wav"))
        return web.Response(body=b"x" * size_bytes, status=200 if size_bytes else 404)

    async with answered_by(answer) as url:
        yield url


async def test_a_url_is_fetched_for_requests_and_for_batches(tmp_path: Path, recordings: str) -> None:
    async with whole(tmp_path, max_audio_bytes=1000) as server:
        await server.platform.catalog.add(LISTENER)

        async def ask(url: str, **fields: Any) -> Any:
            return await server.client.post(
                "/v1/audio/transcriptions", json={"file": url, "model": LISTENER.name, **fields}
            )

        heard = await ask(f"{recordings}/7.wav", response_format="verbose_json", diarize=True)
        assert heard.json()["text"] == "echo of 7 bytes"
        assert heard.json()["speaker_segments"]
        for url, why in (
            (f"{recordings}/0.wav", "404"),
            (f"{recordings}/1001.wav", "larger"),
            ("http://[::1/", "not a valid URL"),
            ("https://[x]/a.wav", "not a valid URL"),
        ):
            refused = await ask(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "url_not_fetched")
            assert why in refused.json()["error"]["message"]
            assert refused.json()["error"]["param"] == "file"
        lines = [
            {"custom_id": name, "body": {"file": f"{recordings}/{name}.wav", "model": LISTENER.name}}
            for name in ("3", "0")
        ]
        done = await _batch(server.client, lines)
        assert [(it["custom_id"], it["response"]["body"]) for it in done] == [
            ("3", {"text": "echo of 3 bytes"})
        ]


async def _batch(client: Any, lines: list[Any]) -> list[Any]:
    """What came of the lines that could be answered."""
    content = "\n".join(map(json.dumps, lines)).encode()
    form = {"purpose": "batch-api", "file_name": "a.jsonl", "file_type": "jsonl"}
    file = await client.post("/v1/files/upload", data=form, files={"file": ("a.jsonl", content)})
    made = {"input_file_id": file.json()["id"], "endpoint": "/v1/audio/transcriptions"}
    batch = (await client.post("/v1/batches", json=made)).json()
    async with asyncio.timeout(limit(60)):
        while batch["status"] not in ("COMPLETED", "FAILED"):
            await asyncio.sleep(0.1)
            batch = (await client.get(f"/v1/batches/{batch['id']}")).json()
    assert batch["status"] == "COMPLETED", batch
    output = await client.get(f"/v1/files/{batch['output_file_id']}/content")
    return [json.loads(line) for line in output.text.splitlines()]
