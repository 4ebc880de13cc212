"""`tutti serve` as on a larger machine, by its flags: PostgreSQL, S3, two API workers, a model in a local
file, one that another server has, and aliases for both."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from tests.support.patience import limit
from tests.support.postgres import drop_database, empty_database, postgres_url
from tests.support.s3 import s3_server
from tests.support.server import ECHO, Server, running_server
from tests.support.weights import SMOLLM2, pulled

from tutti.base.model import Model

FAR_EMBEDDING = Model(name="embed", type="embedding", engine="echo")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL without tables."""
    name = asyncio.run(empty_database())
    yield postgres_url(name)
    asyncio.run(drop_database(name))


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Server, str]]:
    """Another server, which only takes the one key."""
    with running_server([ECHO, FAR_EMBEDDING]) as server:
        argv = [sys.executable, "-m", "tutti", "keys", "create", "--data-dir", str(server.data_dir), "--json"]
        yield server, json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["key"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def server(database: str, bucket: Path, far: tuple[Server, str]) -> Iterator[Server]:
    there = {"base_url": f"{far[0].url}/v1", "api_key_env": "FAR_API_KEY", "dialect": "together"}
    catalog = [
        Model(name="far/chat", type="chat", engine="remote", options={**there, "remote_model": "echo"}),
        Model(
            name="far/embed", type="embedding", engine="remote", options={**there, "remote_model": "embed"}
        ),
    ]
    file = next(pulled(SMOLLM2).glob("*.gguf"))
    with s3_server(bucket) as s3, pytest.MonkeyPatch.context() as environment:
        for name, value in {**s3.credentials, "FAR_API_KEY": far[1]}.items():
            environment.setenv(name, value)
        flags = ["--database-url", database, "--blob-url", f"s3://{s3.bucket}/some/prefix"]
        flags += ["--blob-endpoint", s3.endpoint, "--workers", "2", "--model", str(file)]
        flags += ["--alias", f"meta-llama/*={file.stem}", "--alias", "gpt-4o=far/chat"]
        with running_server([], catalog=catalog, arguments=flags) as server:
            yield server


def chat(server: Server, model: str, text: str = "hello big world") -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 6}
    response = server.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_local_file_is_served_under_its_name_and_its_alias(server: Server) -> None:
    name = next(pulled(SMOLLM2).glob("*.gguf")).stem
    shown = {it["id"]: it for it in server.client.get("/v1/models").json()}[name]
    assert shown["type"] == "chat"
    assert shown["context_length"] == 8192
    for asked in (name, "meta-llama/Llama-3.3-70B-Instruct-Turbo"):
        answer = chat(server, asked)
        assert answer["model"] == asked
        assert answer["choices"][0]["message"]["content"]
        assert 0 < answer["usage"]["completion_tokens"] <= 6


@pytest.mark.parametrize("model", ["far/chat", "gpt-4o"])
def test_another_server_answers_with_the_key_that_only_this_one_knows(server: Server, model: str) -> None:
    answer = chat(server, model)
    assert answer["model"] == model
    assert answer["choices"][0]["message"]["content"] == "hello big world"
    assert answer["usage"]["total_tokens"] > 0
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], "stream": True}
    events = server.client.post("/v1/chat/completions", json=body).text.split("\n\n")
    chunks = [json.loads(it.removeprefix("data: ")) for it in events if it.startswith("data: {")]
    assert "".join(it["choices"][0]["delta"]["content"] or "" for it in chunks) == "one two three"
    assert {it["model"] for it in chunks} == {model}
    assert chunks[-1]["usage"]["completion_tokens"] == 3
    assert events[-2] == "data: [DONE]"


def test_another_servers_completions_and_embeddings(server: Server, far: tuple[Server, str]) -> None:
    prompt = {"model": "far/chat", "prompt": "one two three", "max_tokens": 2}
    answer = server.client.post("/v1/completions", json=prompt).json()
    assert answer["choices"][0]["text"].split() == ["one", "two"]
    asked = {"model": "far/embed", "input": ["a", "b"]}
    ours = server.client.post("/v1/embeddings", json=asked).json()
    key = {"authorization": f"Bearer {far[1]}"}
    direct = httpx.post(f"{far[0].url}/v1/embeddings", json={**asked, "model": "embed"}, headers=key).json()
    assert [it["embedding"] for it in ours["data"]] == [it["embedding"] for it in direct["data"]]


def test_the_other_servers_refusal_is_the_clients(server: Server) -> None:
    body = {"model": "far/chat", "messages": [{"role": "user", "content": "x"}], "temperature": 99}
    response = server.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "temperature"


async def test_rows_are_in_postgresql_and_files_in_the_bucket(
    server: Server, database: str, bucket: Path
) -> None:
    data = b'{"text": "hello"}\n' * 1000
    form = {"purpose": "fine-tune", "file_name": "a.jsonl"}
    file = server.client.post("/v1/files/upload", data=form, files={"file": ("a.jsonl", data)}).json()
    assert server.client.get(f"/v1/files/{file['id']}/content").content == data
    connection = await asyncpg.connect(database)
    try:
        found = await connection.fetchval("SELECT count(*) FROM files WHERE id = $1", file["id"])
        nodes = await connection.fetchval("SELECT count(*) FROM nodes")
    finally:
        await connection.close()
    assert (found, nodes) == (1, 1)
    assert any("some/prefix" in str(it) for it in bucket.rglob("*") if it.is_file())
    assert not list(server.data_dir.glob("*.db"))
    assert not [it for it in (server.data_dir / "blobs").rglob("*") if it.is_file()]


def test_two_workers_listen_on_the_one_port(server: Server) -> None:
    """The server is ready with the first; the second may still be on its way."""
    port = int(server.url.rpartition(":")[2])
    give_up_at = time.monotonic() + limit(60)
    while [ports_of(pid) for pid in server.workers()] != [[port], [port]]:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def ports_of(pid: int) -> list[int]:
    """Those that it listens on."""
    connections = psutil.Process(pid).net_connections("tcp")
    return [it.laddr.port for it in connections if it.status == "LISTEN"]
