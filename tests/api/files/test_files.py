"""Listing, reading and deleting files; how a purpose is told to whom; the sweep."""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import select, update
from tests.support.patience import limit
from tests.support.uploads import LINES, announce, files, upload

from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.features.files.service import find, lines, make
from tutti.features.files.sweep import KIND, file_sweep
from tutti.http.inside import Inside
from tutti.jobs.args import Args
from tutti.jobs.queue import enqueue
from tutti.jobs.worker import Pace, Worker
from tutti.platform import Platform
from tutti.store.blobs import Blobs
from tutti.store.db import Database
from tutti.store.records import Batch, Evaluation, File, JobRow, Upload

one_kind = pytest.mark.parametrize("kind", ["sqlite"], scope="session")
"""For what has nothing to do with the database or the object store."""
V1 = {"user-agent": "Together/v1 PythonBindings/1.5.35"}
OPENAI = {"user-agent": "OpenAI/Python 3.52.0"}


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


# --- listing ----------------------------------------------------------------------------------------------


async def test_files_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    made = [(await upload(client, purpose=purpose))["id"] for purpose in ("eval", "fine-tune", "eval")]
    answer = (await client.get("/v1/files")).json()
    assert (answer["object"], answer["has_more"]) == ("list", False)
    assert [file["id"] for file in answer["data"]] == made[::-1]
    assert (answer["first_id"], answer["last_id"]) == (made[2], made[0])
    assert [file["id"] for file in await files(client, order="asc")] == made
    assert [file["id"] for file in await files(client, purpose="evals", order="asc")] == [made[0], made[2]]
    page = (await client.get("/v1/files", params={"limit": 2})).json()
    assert page["has_more"] is True
    assert [it["id"] for it in await files(client, after=page["last_id"])] == [made[0]]
    assert [it["id"] for it in await files(client, after=made[0], order="asc")] == made[1:]
    assert await files(client, purpose="nothing") == []
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"after": "nobody"}):
        assert (await client.get("/v1/files", params=wrong)).status_code == 400


@one_kind
async def test_each_client_reads_purposes_that_it_knows(client: httpx.AsyncClient) -> None:
    for purpose in ("calibration", "user_data", "batch_output", "batch"):
        await upload(client, purpose=purpose)

    async def told(headers: dict[str, str]) -> list[str]:
        answer = await client.get("/v1/files", params={"order": "asc"}, headers=headers)
        assert answer.headers["vary"] == "user-agent"
        return [file["purpose"] for file in answer.json()["data"]]

    assert await told({}) == ["calibration", "user_data", "batch-api", "batch-api"]
    assert await told(V1) == ["fine-tune", "fine-tune", "batch-api", "batch-api"]
    assert await told(OPENAI) == ["fine-tune", "user_data", "batch_output", "batch"]


# --- content ----------------------------------------------------------------------------------------------


async def test_content_is_whole_and_its_length_is_told(client: httpx.AsyncClient) -> None:
    path = f"/v1/files/{(await upload(client))['id']}/content"
    for method in ("GET", "HEAD"):
        answer = await client.request(method, path, headers={"accept-encoding": "gzip, br"})
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(LINES)
        assert answer.headers["content-type"] == "text/plain"
        assert "content-encoding" not in answer.headers
        assert answer.content == (LINES if method == "GET" else b"")


async def test_a_range_of_the_content(client: httpx.AsyncClient) -> None:
    path, total = f"/v1/files/{(await upload(client))['id']}/content", len(LINES)
    for asked, start, end in (
        ("bytes=0-1", 0, 2),
        (f"bytes={total - 5}-", total - 5, total),
        ("bytes=-7", total - 7, total),
        (f"bytes=-{total * 2}", 0, total),
        (f"bytes=10-{total * 2}", 10, total),
    ):
        answer = await client.get(path, headers={"range": asked})
        assert (answer.status_code, answer.content) == (206, LINES[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{total}"
        assert int(answer.headers["content-length"]) == end - start
    for ignored in ("bytes=5-2", "lines=1-2", "bytes=1-2,5-6", "bytes=", "bytes=x-"):
        answer = await client.get(path, headers={"range": ignored})
        assert (answer.status_code, answer.content) == (200, LINES)
    for beyond in (f"bytes={total}-", "bytes=-0"):
        answer = await client.get(path, headers={"range": beyond})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{total}")
        assert answer.json()["error"]["type"] == "invalid_request_error"


@one_kind
async def test_a_download_goes_on_only_in_the_same_bytes(client: httpx.AsyncClient) -> None:
    path = f"/v1/files/{(await upload(client))['id']}/content"
    etag = (await client.head(path)).headers["etag"]
    headers = {"range": "bytes=5-", "if-range": etag}
    assert (await client.get(path, headers=headers)).status_code == 206
    assert (await client.get(path, headers={**headers, "if-range": '"other"'})).status_code == 200


# --- deleting ---------------------------------------------------------------------------------------------


async def test_what_is_deleted_is_gone(client: httpx.AsyncClient, blobs: Blobs, project: str) -> None:
    id = (await upload(client))["id"]
    answer = await client.delete(f"/v1/files/{id}")
    assert answer.json() == {"id": id, "object": "file", "deleted": True}
    assert await files(client) == []
    for path in (f"/v1/files/{id}", f"/v1/files/{id}/content"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/v1/files/{id}")).status_code == 404
    assert await blobs.list(f"{project}/") == []


async def test_what_is_in_use_is_not_deleted(
    client: httpx.AsyncClient, database: Database, project: str
) -> None:
    ids = [(await upload(client))["id"] for _ in range(2)]
    batch = Batch(
        id="batch-1", project_id=project, key_id="k", endpoint="e", input_file_id=ids[0], file_size_bytes=1,
        status="IN_PROGRESS", completion_window="24h", details={}, created_at=0, deadline_at=0,
    )  # fmt: skip
    evaluation = Evaluation(
        id="eval-1", project_id=project, key_id="k", type="score", status="queued", status_updates=[],
        parameters={"judge": {}, "input_data_file_path": ids[1]}, results={}, created_at=0, updated_at=0,
    )  # fmt: skip
    async with database.begin() as session:
        session.add_all([batch, evaluation])
    for id, user in zip(ids, ("batch batch-1", "evaluation eval-1"), strict=True):
        answer = await client.delete(f"/v1/files/{id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "file_in_use")
        assert user in answer.json()["error"]["message"]
    async with database.begin() as session:
        await session.execute(update(Batch).values(status="COMPLETED"))
        await session.execute(update(Evaluation).values(status="completed"))
    assert [(await client.delete(f"/v1/files/{id}")).status_code for id in ids] == [200, 200]


# --- files that jobs make ---------------------------------------------------------------------------------


async def test_a_job_makes_a_file_once(client: httpx.AsyncClient, platform: Platform, project: str) -> None:
    told: list[str] = []

    async def also(_session: object, file: File) -> None:
        told.append(file.id)

    async def again(data: bytes, file_id: str | None = "file-of-a-job") -> File:
        return await make(
            platform,
            platform.database.begin,
            project_id=project,
            filename="batch-output.jsonl",
            purpose="batch_output",
            data=pieces(data),
            file_id=file_id,
            also=also,
        )

    made = await again(LINES)
    assert (await again(b"other")).blob == made.blob
    assert told == ["file-of-a-job"]
    file = (await client.get("/v1/files/file-of-a-job")).json()
    assert (file["processing_status"], file["bytes"], file["status"]) == (
        "COMPLETED",
        len(LINES),
        "processed",
    )
    assert (await client.get(f"/v1/files/{(await again(b'', None)).id}/content")).content == b""


async def test_a_file_whose_making_was_cut_short_is_made_again(
    client: httpx.AsyncClient, platform: Platform, project: str
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise KeyError("killed")

    about = {"project_id": project, "filename": "a.jsonl", "purpose": "eval-output", "file_id": "file-1"}
    with pytest.raises(KeyError):
        await make(platform, platform.database.begin, data=broken(), **about)
    assert await files(client) == []
    await make(platform, platform.database.begin, data=pieces(LINES), **about)
    assert (await client.get("/v1/files/file-1/content")).content == LINES


@one_kind
async def test_lines_are_those_of_the_file(
    client: httpx.AsyncClient, platform: Platform, project: str
) -> None:
    for data, expected in (
        (LINES * 50, LINES.splitlines() * 50),
        (b"a\r\n\r\nb\n\nc", [b"a", b"", b"b", b"", b"c"]),
        ("ü\u2028\n".encode() * 2, ["ü\u2028".encode()] * 2),
        (b"\n", [b""]),
    ):
        file = await find(platform, project, (await upload(client, data))["id"])
        assert [line async for line in lines(platform, file)] == expected


@one_kind
async def test_a_line_without_end_is_refused(
    client: httpx.AsyncClient, platform: Platform, project: str
) -> None:
    file = await find(platform, project, (await upload(client, b"a\n" + b"x" * 17_000_000))["id"])
    seen = []
    with pytest.raises(Exception, match="Line 2 is longer"):
        seen += [line async for line in lines(platform, file)]


# --- the sweep --------------------------------------------------------------------------------------------


async def swept(platform: Platform) -> None:
    """Runs it once, as a job."""
    async with platform.database.begin() as session:
        id = await enqueue(session, KIND, Args(), project_id="")
    worker = Worker(platform.database, [file_sweep(platform, Inside(None))], Pace())
    task = asyncio.create_task(worker.run())
    async with asyncio.timeout(limit(60)):
        while True:
            async with platform.database.read() as session:
                row = await session.get(JobRow, id)
            if row is not None and row.status not in ("queued", "running"):
                break
            await asyncio.sleep(0.02)
    worker.stop()
    await task
    assert row.status == "completed", row.error


async def test_the_sweep_forgets_what_was_given_up(
    client: httpx.AsyncClient, platform: Platform, database: Database, blobs: Blobs, project: str
) -> None:
    kept = await upload(client)
    expired = await upload(client)
    await announce(client)
    fresh = (await announce(client)).headers["x-together-file-id"]
    body = {"file_name": "a.jsonl", "file_size": 5, "num_parts": 1, "purpose": "eval"}
    begun = (await client.post("/v1/files/multipart/initiate", json=body)).json()
    async with httpx.AsyncClient(verify=False, timeout=limit(60)) as anybody:
        await anybody.put(begun["parts"][0]["URL"], content=b"12345")
    async with database.begin() as session:
        mine = File.project_id == project
        old = {"created_at": now() - 50 * 3600}
        await session.execute(
            update(File).where(mine, File.state == "uploading", File.id != fresh).values(**old)
        )
        await session.execute(update(Upload).where(Upload.project_id == project).values(**old))
        await session.execute(update(File).where(File.id == expired["id"]).values(expires_at=now() - 1))
    await swept(platform)
    assert [file["id"] for file in await files(client)] == [kept["id"]]
    async with database.read() as session:
        assert set(await session.scalars(select(File.id).where(mine))) == {kept["id"], fresh}
        assert list(await session.scalars(select(Upload.id).where(Upload.project_id == project))) == []
    left = await blobs.list(f"{project}/")
    assert [key.split("/")[2] for key in left] == [kept["id"]]


@one_kind
async def test_the_sweep_deletes_what_a_killed_worker_had_begun_to_write(
    client: httpx.AsyncClient, platform: Platform, settings: Settings, project: str
) -> None:
    """tests/system/test_uploads.py shows that it has such a name."""
    id = (await upload(client))["id"]
    folder = settings.data_dir / "blobs" / project / "files" / id
    old, fresh = folder / "blob-a#1", folder / "blob-b#1"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, times=(now() - 50 * 3600,) * 2)
    await swept(platform)
    assert (old.exists(), fresh.exists()) == (False, True)
    assert (await client.get(f"/v1/files/{id}/content")).content == LINES
