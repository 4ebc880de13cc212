"""Requests and files of odd clients: names, partial bodies, files that would make long descriptions."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from tests.support.uploads import LINES, announce, files, put, upload

from tutti.base.errors import QuotaExceeded, RateLimited
from tutti.features.files.checks.file import Check
from tutti.features.files.checks.report import validation_report
from tutti.features.files.quota import room_left
from tutti.jobs.args import Args
from tutti.jobs.queue import check_queue, enqueue
from tutti.platform import Platform
from tutti.store.db import Database
from tutti.store.records import File

one_kind = pytest.mark.parametrize("kind", ["sqlite"], scope="session")
FORM = {"content-type": "multipart/form-data; boundary=B"}


def form(disposition: str, *headers: str, end: str = "--B--\r\n") -> bytes:
    """A form with an eval file of two rows."""
    part = "\r\n".join([f"Content-Disposition: form-data; name=file; {disposition}", *headers])
    purpose = '--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\neval\r\n'
    return f"{purpose}--B\r\n{part}\r\n\r\nq,a\r\n1,2\r\n{end}".encode()


# --- names ------------------------------------------------------------------------------------------------


@one_kind
@pytest.mark.parametrize(
    "disposition",
    [
        "filename=\"=?utf-8?B?ZG9ubsOpZXMuY3N2?=\"; filename*=utf-8''donn%C3%A9es.csv",
        "filename*=utf-8''donn%C3%A9es.csv",
        "filename*=ISO-8859-1'fr'donn%E9es.csv; filename=data.txt",
        "filename*0*=utf-8''donn%C3%A9; filename*1=es.csv",
        'filename="=?utf-8?B?ZG9ubsOpZXMuY3N2?="',
        'filename="données.csv"',
        'FileName="C:\\files\\données.csv"',
    ],
)
async def test_a_name_is_read_however_it_is_written(client: httpx.AsyncClient, disposition: str) -> None:
    answer = await client.post("/v1/files", content=form(disposition), headers=FORM)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["filename"], answer.json()["FileType"]) == ("données.csv", "csv")


# --- whole or not at all ------------------------------------------------------------------------------------


@one_kind
async def test_a_part_of_a_body_never_becomes_a_file(client: httpx.AsyncClient) -> None:
    async def posted(body: bytes, **headers: str) -> httpx.Response:
        return await client.post("/v1/files", content=body, headers={**FORM, **headers})

    location = (await announce(client)).headers["location"]
    name = 'filename="a.csv"'
    tries: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: put(location, LINES, **{"content-range": "bytes 0-9/100"}),
        lambda: put(location, LINES, **{"upload-offset": "10"}),
        lambda: put(location, LINES, **{"upload-complete": "?0"}),
        lambda: posted(form(name), **{"content-range": "bytes 0-9/100"}),
        lambda: posted(form(name, "Content-Range: bytes 0-9/100")),
        lambda: posted(form(name, "Content-Length: 9")),
        lambda: posted(form(name, "Content-Transfer-Encoding: base64")),
        lambda: posted(form(name, "X-Long: " + "x" * 20_000)),
        lambda: posted(form(name, end="--B\r\n")),
        lambda: posted(form(name, end="")),
    ]
    for attempt in tries:
        answer = await attempt()
        assert answer.status_code == 400, answer.text
    assert await files(client) == []
    assert (await posted(form(name, "Content-Length: 8", "Content-Transfer-Encoding: 8bit"))).is_success
    assert (await put(location, LINES)).status_code == 200


# --- small descriptions -------------------------------------------------------------------------------------


def test_a_report_is_small_whatever_the_file() -> None:
    long = b"x" * 1_000_000
    broken = [
        b'{"' + long + b'": 1}',
        b"{" + b",".join(b'"f%d": 1' % number for number in range(100_000)) + b"}",
        b'{"messages": [{"role": "' + long + b'"}]}',
        b'{"text": "a", "' + long + b'": 1}',
    ]
    for purpose in ("fine-tune", "batch-api", "eval"):
        check = Check(purpose, "jsonl")
        for number in range(200):
            check.line(number + 1, broken[number % len(broken)] if number < 8 else b"[]")
        assert len(str(validation_report(check.end()))) < 64_000
    check = Check("eval", "jsonl")
    check.line(1, broken[1])
    assert len(check.end().fields) == 100


async def test_a_list_has_the_summary_of_a_report_and_the_file_all_of_it(
    client: httpx.AsyncClient, database: Database
) -> None:
    report = {"valid": False, "nlines": 3, "error": "Line 1: x", "error_type": "INVALID_FORMAT"}
    made = await upload(client)
    async with database.begin() as session:
        row = await session.get_one(File, made["id"])
        row.report = {**report, "errors": [{"line": 1}], "fields": ["a"]}
    (listed,) = await files(client)
    assert listed["validation_report"] == {**report, "file_id": made["id"]}
    assert (listed["LineCount"], listed["filename"]) == (3, made["filename"])
    alone = (await client.get(f"/v1/files/{made['id']}")).json()
    assert alone["validation_report"]["errors"] == [{"line": 1}]


# --- room for others ----------------------------------------------------------------------------------------


async def test_a_project_that_has_taken_its_room_is_told_so(
    client: httpx.AsyncClient, platform: Platform, project: str
) -> None:
    def limited(project_bytes: int) -> Platform:
        return replace(
            platform, settings=platform.settings.model_copy(update={"project_bytes": project_bytes})
        )

    await upload(client)
    begun = {"purpose": "eval", "file_name": "b.jsonl", "file_size": 100, "num_parts": 1}
    part = (await client.post("/v1/files/multipart/initiate", json=begun)).json()["parts"][0]["URL"]
    for _ in range(2):  # each attempt takes room until the upload has ended
        assert (await put(part, b"x" * 100)).status_code == 200
    taken = len(LINES) + 200
    assert await room_left(limited(taken + 1), project) == 1
    for wanted in (None, 1):
        with pytest.raises(QuotaExceeded, match="--project-bytes"):
            await room_left(limited(taken), project, wanted)
    assert await room_left(limited(taken), "another") == taken
    assert await room_left(platform, project) > taken


async def test_a_project_with_too_many_jobs_is_told_so(database: Database, project: str) -> None:
    async with database.begin() as session:
        for _ in range(3):
            await check_queue(session, project, 3)
            await enqueue(session, "file_check", Args(), project_id=project, run_at=1e12)
        with pytest.raises(RateLimited, match="--project-jobs"):
            await check_queue(session, project, 3)
        await check_queue(session, "another", 3)
        await session.rollback()
