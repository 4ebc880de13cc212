"""Uploads in parts, as the official clients do those of more than 5 GiB."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.support.uploads import LINES, files, put, sha256

from tutti.store.blobs import Blobs

DATA = LINES * 40
PART = len(DATA) // 3 + 1
PARTS = [DATA[start : start + PART] for start in range(0, len(DATA), PART)]
one_kind = pytest.mark.parametrize("kind", ["sqlite"], scope="session")
"""For what has nothing to do with the database or the object store."""


async def initiate(client: httpx.AsyncClient, **said: Any) -> httpx.Response:
    body = {
        "file_name": "train.jsonl",
        "file_size": len(DATA),
        "num_parts": len(PARTS),
        "purpose": "fine-tune",
        "file_type": "jsonl",
        "checksum": sha256(DATA),
        **said,
    }
    return await client.post("/v1/files/multipart/initiate", json=body)


async def begun(client: httpx.AsyncClient, **said: Any) -> tuple[dict[str, str], list[str]]:
    """What names the upload, and the URLs of its parts."""
    answer = (await initiate(client, **said)).json()
    assert [(it["PartNumber"], it["part_number"], it["Headers"]) for it in answer["parts"]] == [
        (number + 1, number + 1, {}) for number in range(len(answer["parts"]))
    ]
    assert all(it["URL"] == it["UploadURL"] for it in answer["parts"])
    return {name: answer[name] for name in ("upload_id", "file_id")}, [it["URL"] for it in answer["parts"]]


async def put_parts(urls: list[str], parts: list[bytes]) -> list[dict[str, Any]]:
    answers = await asyncio.gather(*(put(*it) for it in zip(urls, parts, strict=True)))
    assert {answer.status_code for answer in answers} == {200}
    etags = [answer.headers["etag"].strip('"') for answer in answers]
    return [{"part_number": number, "etag": etag} for number, etag in enumerate(etags, 1)]


async def complete(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/v1/files/multipart/complete", json=body)


async def test_parts_make_a_file(client: httpx.AsyncClient, blobs: Blobs, project: str) -> None:
    upload, urls = await begun(client)
    parts = await put_parts(urls[::-1], PARTS[::-1])
    parts = [{**part, "part_number": len(PARTS) + 1 - part["part_number"]} for part in parts]
    assert await files(client) == []
    file = (await complete(client, **upload, parts=parts)).json()["file"]
    assert (file["id"], file["bytes"], file["checksum"]) == (upload["file_id"], len(DATA), sha256(DATA))
    assert (await client.get(f"/v1/files/{file['id']}/content")).content == DATA
    assert len(await blobs.list(f"{project}/")) == 1
    again = await complete(client, **upload, parts=parts)
    assert again.json()["file"]["id"] == file["id"]
    assert (await put(urls[0], PARTS[0])).status_code == 404
    assert (await client.post("/v1/files/multipart/abort", json=upload)).json()["aborted"] is False
    assert len(await files(client)) == 1


async def test_completing_at_the_same_time_makes_one_file(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    upload, urls = await begun(client)
    parts = await put_parts(urls, PARTS)
    answers = await asyncio.gather(*(complete(client, **upload, parts=parts) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert (await client.get(f"/v1/files/{upload['file_id']}/content")).content == DATA
    assert len(await blobs.list(f"{project}/")) == 1


@one_kind
async def test_of_a_part_that_was_put_twice_the_one_that_is_named_counts(client: httpx.AsyncClient) -> None:
    upload, urls = await begun(client)
    first = await put_parts(urls, PARTS)
    await put(urls[0], PARTS[0].upper())
    assert (await complete(client, **upload, parts=first)).status_code == 200
    assert (await client.get(f"/v1/files/{upload['file_id']}/content")).content == DATA


async def test_parts_that_do_not_make_the_file_are_refused(client: httpx.AsyncClient) -> None:
    upload, urls = await begun(client)
    parts = await put_parts(urls, PARTS)
    other = (await put(urls[0], PARTS[0].upper())).headers["etag"]
    short = (await put(urls[0], PARTS[0][:-1])).headers["etag"]
    for wrong in (
        [],
        parts[:-1],
        [*parts, {"part_number": 4, "etag": "x"}],
        [*parts, {"part_number": 1, "etag": short}],
        [{"part_number": 1, "etag": "made-up"}, *parts[1:]],
        [{"part_number": 1, "etag": short}, *parts[1:]],
        [{"part_number": 1, "etag": other}, *parts[1:]],
    ):
        answer = await complete(client, **upload, parts=wrong)
        assert answer.status_code == 400, answer.text
        assert await files(client) == []
    assert (await complete(client, **upload, parts=parts)).status_code == 200


async def test_an_aborted_upload_leaves_nothing(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    upload, urls = await begun(client)
    parts = await put_parts(urls, PARTS)
    assert (await client.post("/v1/files/multipart/abort", json=upload)).json()["aborted"] is True
    assert await blobs.list(f"{project}/") == []
    assert (await complete(client, **upload, parts=parts)).status_code == 404
    assert (await put(urls[0], PARTS[0])).status_code == 404
    assert (await client.post("/v1/files/multipart/abort", json=upload)).status_code == 404
    assert await blobs.list(f"{project}/") == []


@one_kind
async def test_what_cannot_be_uploaded_in_parts_is_refused(client: httpx.AsyncClient) -> None:
    for said, status in (
        ({"file_size": 20_000_001}, 413),
        ({"file_size": 0}, 400),
        ({"num_parts": 0}, 400),
        ({"num_parts": 10_001}, 400),
        ({"purpose": "x"}, 400),
        ({"file_name": "a/"}, 400),
    ):
        assert (await initiate(client, **said)).status_code == status
    _, urls = await begun(client)
    assert (await put(urls[0], DATA + b"x")).status_code == 413
    assert (await put(urls[0].replace("/parts/1", "/parts/2"), b"x")).status_code == 403


async def test_a_file_that_is_there_is_not_uploaded_again(client: httpx.AsyncClient) -> None:
    upload, urls = await begun(client)
    await complete(client, **upload, parts=await put_parts(urls, PARTS))
    answer = await initiate(client)
    assert (answer.status_code, answer.json()["file_id"]) == (409, upload["file_id"])
    assert answer.headers["x-should-retry"] == "false"
