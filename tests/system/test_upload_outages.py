"""Uploads through a whole server whose PostgreSQL crashes and comes back meanwhile."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.support.patience import limit
from tests.support.postgres import OwnServer
from tests.support.server import Server, running_server
from tests.support.uploads import LINES, announce, files, put, sha256, with_key

from tutti.base.ids import new_id

Meanwhile = Callable[[], Awaitable[None]]
"""Awaited when half of the bytes are sent."""
Send = Callable[[bytes, Meanwhile], Awaitable[httpx.Response]]
"""Sends the bytes of an upload that has begun; may be repeated."""
Begin = Callable[[httpx.AsyncClient, bytes], Awaitable[Send]]

PIECE = 64 * 1024


@pytest.fixture(scope="module")
def postgres() -> OwnServer:
    return OwnServer()


@pytest.fixture(scope="module")
def server(postgres: OwnServer) -> Iterator[Server]:
    with running_server([], lent=[], database_url=postgres.url, job_lease_s=2) as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with with_key(server.url) as client:
        yield client


def new_data() -> bytes:
    """1 MiB that nobody has uploaded before."""
    return LINES * 48 + b'{"text": "%s"}\n' % new_id("data").encode()


async def nothing() -> None:
    pass


async def halves(data: bytes, meanwhile: Meanwhile) -> AsyncIterator[bytes]:
    half = len(data) // 2
    for start in range(0, half, PIECE):
        yield data[start : min(start + PIECE, half)]
    await meanwhile()
    for start in range(half, len(data), PIECE):
        yield data[start : start + PIECE]


# --- the ways to upload -------------------------------------------------------------------------------------


async def by_put(client: httpx.AsyncClient, data: bytes) -> Send:
    location = (await announce(client, checksum=sha256(data))).headers["location"]

    async def send(data: bytes, meanwhile: Meanwhile) -> httpx.Response:
        return await put(location, halves(data, meanwhile), **{"content-length": str(len(data))})

    return send


async def in_one_form(client: httpx.AsyncClient, _: bytes) -> Send:
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--b\r\n'
    head += b'content-disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}

    async def form(data: bytes, meanwhile: Meanwhile) -> AsyncIterator[bytes]:
        yield head
        async for piece in halves(data, meanwhile):
            yield piece
        yield b"\r\n--b--\r\n"

    async def send(data: bytes, meanwhile: Meanwhile) -> httpx.Response:
        return await client.post("/v1/files/upload", content=form(data, meanwhile), headers=headers)

    return send


async def in_parts(client: httpx.AsyncClient, data: bytes) -> Send:
    """Two of them; the client sends only what has not been taken yet."""
    said = {"file_name": "train.jsonl", "purpose": "fine-tune", "file_size": len(data), "num_parts": 2}
    answer = await client.post("/v1/files/multipart/initiate", json={**said, "checksum": sha256(data)})
    begun, half, etags = answer.json(), len(data) // 2, dict[int, str]()

    async def part(number: int, data: bytes, meanwhile: Meanwhile) -> httpx.Response:
        answer = await put(begun["parts"][number - 1]["URL"], halves(data, meanwhile))
        if answer.status_code == 200:
            etags[number] = answer.headers["etag"]
        return answer

    async def send(data: bytes, meanwhile: Meanwhile) -> httpx.Response:
        for number, piece, hook in ((1, data[:half], nothing), (2, data[half:], meanwhile)):
            if number not in etags and (answer := await part(number, piece, hook)).status_code != 200:
                return answer
        parts = [{"part_number": number, "etag": etag} for number, etag in etags.items()]
        named = {"upload_id": begun["upload_id"], "file_id": begun["file_id"], "parts": parts}
        return await client.post("/v1/files/multipart/complete", json=named)

    return send


every_way = pytest.mark.parametrize("begin", [by_put, in_one_form, in_parts])


# --- what becomes of them -----------------------------------------------------------------------------------


def asks_to_try_again(answer: httpx.Response) -> bool:
    """In the contract's words, and in those of the official clients."""
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (503, "overloaded_error")
    assert set(error) == {"message", "type", "param", "code"}
    return int(answer.headers["retry-after"]) >= 1 and answer.headers["x-should-retry"] == "true"


async def is_whole(client: httpx.AsyncClient, file: dict[str, object], data: bytes) -> bool:
    path = f"/v1/files/{file['id']}"
    assert (await client.get(f"{path}/content")).content == data
    async with asyncio.timeout(limit(60)):
        while not (checked := (await client.get(path)).json())["Processed"]:
            await asyncio.sleep(0.05)
    assert checked["processing_status"] == "COMPLETED" and checked["LineCount"] == data.count(b"\n")
    assert (await client.delete(path)).status_code == 200
    return (checked["bytes"], checked["checksum"]) == (len(data), sha256(data))


@every_way
async def test_an_upload_goes_on_over_a_restart(
    client: httpx.AsyncClient, postgres: OwnServer, begin: Begin
) -> None:
    data = new_data()
    send = await begin(client, data)

    async def restart() -> None:
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.start)

    answer = await send(data, restart)
    assert answer.status_code == 200, answer.text
    [file] = await files(client)
    assert await is_whole(client, file, data)


@every_way
async def test_without_a_database_an_upload_is_to_be_tried_again(
    client: httpx.AsyncClient, postgres: OwnServer, begin: Begin
) -> None:
    data = new_data()
    send = await begin(client, data)

    async def stop() -> None:
        await asyncio.to_thread(postgres.stop)

    assert asks_to_try_again(await send(data, stop))
    assert asks_to_try_again(await send(data, nothing))  # it is away from the beginning
    await asyncio.to_thread(postgres.start)
    assert await files(client) == []
    assert (await send(data, nothing)).status_code == 200
    [file] = await files(client)
    assert await is_whole(client, file, data)


@asynccontextmanager
async def crashing(postgres: OwnServer, chance: random.Random) -> AsyncIterator[None]:
    """Again and again; at the end it runs."""
    enough = asyncio.Event()

    async def crash() -> None:
        away_s = 0.0
        while not enough.is_set():
            # Where a restart takes long, so does what is done between two of them.
            await asyncio.sleep(chance.uniform(0, max(0.4, away_s)))
            began = time.monotonic()
            await asyncio.to_thread(postgres.stop)
            await asyncio.to_thread(postgres.start)
            away_s = time.monotonic() - began

    task = asyncio.create_task(crash())
    try:
        yield
    finally:
        enough.set()
        await task


@pytest.mark.long
async def test_whenever_the_database_crashes_every_upload_ends_whole(
    client: httpx.AsyncClient, postgres: OwnServer
) -> None:
    chance = random.Random(3)
    ways = [(begin, new_data()) for begin in (by_put, in_one_form, in_parts) for _ in range(4)]
    begun = [(await begin(client, data), data) for begin, data in ways]
    attempts: list[int] = []

    async def pause() -> None:
        await asyncio.sleep(chance.uniform(0, 0.3))

    async def upload(send: Send, data: bytes) -> None:
        """As the official clients do it, but with less patience and more perseverance."""
        await asyncio.sleep(chance.uniform(0, 2))
        while (answer := await send(data, pause)).status_code != 200:
            assert asks_to_try_again(answer)
            attempts.append(answer.status_code)
            await asyncio.sleep(0.1)

    async with crashing(postgres, chance), asyncio.timeout(limit(100)):
        await asyncio.gather(*(upload(*it) for it in begun))
    assert attempts, "no crash came in between"
    listed = await files(client)
    counts = Counter(file["checksum"] for file in listed)
    assert counts.keys() == {sha256(data) for _, data in ways}
    # An answer that was lost may have been a yes: what was not announced is then a second file.
    assert all(counts[sha256(data)] == 1 for begin, data in ways if begin is not in_one_form)
    by_checksum = {sha256(data): data for _, data in ways}
    for file in listed:
        assert await is_whole(client, file, by_checksum[file["checksum"]])
