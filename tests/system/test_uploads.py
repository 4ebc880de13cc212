"""Uploads through a whole server: memory, clients that leave, workers that are killed, an object store that
is away. TUTTI_TEST_UPLOAD_BYTES makes the large file larger."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from tests.support.patience import limit
from tests.support.platform import api
from tests.support.processes import gone
from tests.support.s3 import s3_server
from tests.support.server import Server, running_server
from tests.support.uploads import LINES, announce, files, put, sha256, upload, with_key

MIB = 1024 * 1024
LARGE_BYTES = int(os.environ.get("TUTTI_TEST_UPLOAD_BYTES", 128 * MIB))
MOST_GROWTH_BYTES = 96 * MIB
"""What the store and the sockets may hold at any time: eight pieces of 8 MiB, and some air."""
BLOCK = os.urandom(MIB)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([], max_file_bytes=64 * 1024 * MIB) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with with_key(server.url) as client:
        yield client


def large() -> Iterator[bytes]:
    for _ in range(LARGE_BYTES // MIB):
        yield BLOCK


async def streamed() -> AsyncIterator[bytes]:
    for block in large():
        yield block


@cache
def checksum() -> str:
    found = hashlib.sha256()
    for block in large():
        found.update(block)
    return found.hexdigest()


class Memory:
    """The most that an API worker has held since it began."""

    def __init__(self, server: Server) -> None:
        self._worker = psutil.Process(server.workers()[0])
        self._began = self._worker.memory_info().rss
        self.most_growth = 0

    async def watch(self) -> None:
        while True:
            self.most_growth = max(self.most_growth, self._worker.memory_info().rss - self._began)
            await asyncio.sleep(0.02)


@pytest.mark.timeout(3600 if LARGE_BYTES > 1024 * MIB else 120)
async def test_a_large_file_goes_up_and_down_in_little_memory(
    server: Server, client: httpx.AsyncClient
) -> None:
    await client.delete(f"/v1/files/{(await upload(client))['id']}")  # so that all is loaded
    digest = checksum()
    memory = Memory(server)
    watching = asyncio.create_task(memory.watch())
    location = (await announce(client, checksum=digest)).headers["location"]
    assert (await put(location, streamed(), **{"content-length": str(LARGE_BYTES)})).status_code == 200
    id = location.split("/files/")[1].split("/")[0]
    found = hashlib.sha256()
    async with client.stream("GET", f"/v1/files/{id}/content") as answer:
        assert int(answer.headers["content-length"]) == LARGE_BYTES
        async for chunk in answer.aiter_raw():
            found.update(chunk)
    assert found.hexdigest() == digest
    await client.delete(f"/v1/files/{id}")
    await in_one_form(client)
    await in_parts(client, digest)
    watching.cancel()
    print(f"{LARGE_BYTES // MIB} MiB; the worker grew by {memory.most_growth // MIB} MiB at most")
    assert memory.most_growth < MOST_GROWTH_BYTES


async def in_one_form(client: httpx.AsyncClient) -> None:
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\n'
    head += b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    tail = b"\r\n--b--\r\n"

    async def form() -> AsyncIterator[bytes]:
        yield head
        async for block in streamed():
            yield block
        yield tail

    length = str(len(head) + LARGE_BYTES + len(tail))
    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": length}
    answer = await client.post("/v1/files/upload", content=form(), headers=headers)
    assert answer.json()["bytes"] == LARGE_BYTES
    await client.delete(f"/v1/files/{answer.json()['id']}")


async def in_parts(client: httpx.AsyncClient, digest: str) -> None:
    named = await parts_of_a_large_file(client, digest)
    answer = await client.post("/v1/files/multipart/complete", json=named)
    assert answer.json()["file"]["bytes"] == LARGE_BYTES
    await client.delete(f"/v1/files/{named['file_id']}")


async def parts_of_a_large_file(client: httpx.AsyncClient, digest: str) -> dict[str, object]:
    """Put, four at a time as the official clients do it; what completes the upload."""
    body = {"file_name": "a.jsonl", "purpose": "fine-tune", "file_size": LARGE_BYTES, "num_parts": 4}
    said = {**body, "checksum": digest} if digest else body
    begun = (await client.post("/v1/files/multipart/initiate", json=said)).json()

    async def part() -> AsyncIterator[bytes]:
        for _ in range(LARGE_BYTES // 4 // MIB):
            yield BLOCK

    answers = await asyncio.gather(*(put(it["URL"], part()) for it in begun["parts"]))
    parts = [{"part_number": n, "etag": it.headers["etag"]} for n, it in enumerate(answers, 1)]
    return {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts}


async def test_a_client_that_leaves_leaves_nothing(server: Server, client: httpx.AsyncClient) -> None:
    location = (await announce(client, checksum=sha256(LINES))).headers["location"]
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    for method, url, head in (("PUT", location, b""), ("POST", f"{server.url}/v1/files/upload", form)):
        await leave_halfway(method, url, head)
        async with asyncio.timeout(limit(60)):
            while any(stored(server)):
                await asyncio.sleep(0.05)
        assert await files(client) == []
    assert (await put(location, LINES)).status_code == 200
    await client.delete(f"/v1/files/{location.split('/files/')[1].split('/')[0]}")


async def leave_halfway(method: str, url: str, head: bytes) -> None:
    """After 20 of 40 MiB."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
    request += "authorization: Bearer any\r\ncontent-type: multipart/form-data; boundary=b\r\n"
    writer.write(f"{request}content-length: {40 * MIB}\r\n\r\n".encode() + head)
    for _ in range(20):
        writer.write(BLOCK)
        await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def stored(server: Server) -> list[Path]:
    """All there is of files, also what is half written."""
    return [path for path in (server.data_dir / "blobs").rglob("*") if path.is_file()]


async def test_a_worker_that_is_killed_leaves_nothing_that_is_listed(
    server: Server, client: httpx.AsyncClient
) -> None:
    digest = checksum()
    location = (await announce(client, checksum=digest)).headers["location"]
    killed = server.workers()[0]

    async def until_it_dies() -> AsyncIterator[bytes]:
        for number, block in enumerate(large()):
            if number == 40:
                os.kill(killed, signal.SIGKILL)
            yield block

    with pytest.raises(httpx.TransportError):
        await put(location, until_it_dies(), **{"content-length": str(LARGE_BYTES)})
    await gone([killed])
    await alive(client)
    assert await files(client) == []
    assert (await put(location, streamed())).status_code == 200
    [file] = await files(client)
    assert file["bytes"] == LARGE_BYTES
    await client.delete(f"/v1/files/{file['id']}")


async def alive(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(limit(60)):
        while True:
            with suppress(httpx.TransportError):
                if (await client.get("/livez")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def test_parts_that_a_killed_worker_was_joining_can_be_joined_again(
    server: Server, client: httpx.AsyncClient
) -> None:
    named = await parts_of_a_large_file(client, "")
    killed = server.workers()[0]

    async def until_it_dies() -> None:
        with suppress(httpx.TransportError):
            await client.post("/v1/files/multipart/complete", json=named)

    completing = asyncio.create_task(until_it_dies())
    async with asyncio.timeout(limit(60)):
        while not any("#" in path.name for path in stored(server)):  # it has begun to write
            await asyncio.sleep(0.005)
    os.kill(killed, signal.SIGKILL)
    await completing
    await gone([killed])
    await alive(client)
    assert (await client.get(f"/v1/files/{named['file_id']}")).status_code == 404
    answer = await client.post("/v1/files/multipart/complete", json=named)
    assert (answer.json()["file"]["bytes"], answer.json()["file"]["checksum"]) == (LARGE_BYTES, checksum())
    await client.delete(f"/v1/files/{named['file_id']}")


async def test_an_object_store_that_goes_away_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as first:
        s3 = first.enter_context(s3_server(tmp_path / "s3"))
        port = urlsplit(s3.endpoint).port or 0
        for name, value in s3.credentials.items():
            monkeypatch.setenv(name, value)
        where = {"blob_url": f"s3://{s3.bucket}", "blob_endpoint": s3.endpoint}
        async with api(tmp_path / "data", [], **where) as url, with_key(url) as client:
            half = hashlib.sha256(BLOCK * 24).hexdigest()
            location = (await announce(client, checksum=half)).headers["location"]

            async def until_it_goes_away() -> AsyncIterator[bytes]:
                for number in range(24):
                    if number == 12:
                        await asyncio.to_thread(first.close)
                    yield BLOCK

            answer = await put(location, until_it_goes_away(), **{"content-length": str(24 * MIB)})
            assert (answer.status_code, answer.json()["error"]["type"]) == (503, "overloaded_error")
            assert answer.headers["retry-after"] and answer.headers["x-should-retry"] == "true"
            form = {"purpose": "eval", "file_name": "a.jsonl"}
            answer = await client.post("/v1/files/upload", data=form, files={"file": ("a.jsonl", LINES)})
            assert answer.status_code == 503
            assert await files(client) == []
            with s3_server(tmp_path / "s3", port):
                assert (await put(location, BLOCK * 24)).status_code == 200
                [file] = await files(client)
                path = f"/v1/files/{file['id']}"
                assert (await client.get(f"{path}/content")).content == BLOCK * 24
            assert (await client.get(f"{path}/content")).status_code == 503
            assert (await client.delete(path)).status_code == 200  # its bytes are left to the sweep
            assert await files(client) == []
