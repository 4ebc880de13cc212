"""The ways to upload a file, and that a broken upload leaves nothing."""

import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.api.files.conftest import Projects
from tests.support.uploads import LINES, announce, anyone, fields, files, has_begun, put, sha256, upload

from tutti.access.caller import Caller
from tutti.access.keys import server_secret
from tutti.base.clock import now
from tutti.base.settings import Settings
from tutti.http.signed import SignedUrls
from tutti.store.blobs import Blobs
from tutti.store.db import Database

one_kind = pytest.mark.parametrize("kind", ["sqlite"], scope="session")
"""For what has nothing to do with the database or the object store."""


async def content(client: httpx.AsyncClient, id: str) -> bytes:
    return (await client.get(f"/v1/files/{id}/content")).content


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def nothing_is_left(client: httpx.AsyncClient, blobs: Blobs, project: str) -> None:
    assert await files(client) == []
    assert await blobs.list(f"{project}/") == []


# --- announced, put, preprocessed -------------------------------------------------------------------------


async def test_a_form_without_a_file_is_answered_by_a_place_to_put_it(client: httpx.AsyncClient) -> None:
    answer = await announce(client, checksum=sha256(LINES))
    assert answer.status_code == 302
    id = answer.headers["x-together-file-id"]
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", id)
    location = answer.headers["location"]
    assert location.startswith(f"{client.base_url}/v1/files/".replace("//v1", "/v1"))
    assert await files(client) == []
    assert (await client.get(f"/v1/files/{id}")).status_code == 404
    assert (await client.post(f"/v1/files/{id}/preprocess")).status_code == 404
    done = await put(location, LINES)
    assert (done.status_code, done.content) == (200, b"")
    assert [file["id"] for file in await files(client)] == [id]


async def test_a_file_is_what_was_put(client: httpx.AsyncClient) -> None:
    file = await upload(client, checksum=sha256(LINES))
    expected = {
        "object": "file",
        "bytes": len(LINES),
        "filename": "train.jsonl",
        "purpose": "fine-tune",
        "FileType": "jsonl",
        "Processed": False,
        "processing_status": "QUEUED",
        "checksum": sha256(LINES),
        "status": "uploaded",
    }
    assert expected.items() <= file.items()
    assert isinstance(file["created_at"], int)
    assert await content(client, file["id"]) == LINES


@one_kind
async def test_urlencoded_as_the_1x_client_does(client: httpx.AsyncClient) -> None:
    said = {"purpose": "batch-api", "file_name": "batch.jsonl", "file_type": "jsonl"}
    answer = await client.post("/v1/files", data=said)
    assert answer.status_code == 302
    assert (await put(answer.headers["location"], LINES)).status_code == 200
    file = (await client.get(f"/v1/files/{answer.headers['x-together-file-id']}")).json()
    assert (file["purpose"], file["filename"]) == ("batch-api", "batch.jsonl")


@one_kind
async def test_urlencoded_with_a_whole_path_and_a_query_as_typescript_does(client: httpx.AsyncClient) -> None:
    said = {"purpose": "eval", "file_name": "/home/me/über rows.csv", "file_type": "csv"}
    answer = await client.post("/v1/files", data=said, params=said)
    assert (await put(answer.headers["location"], b"a,b\n1,2\n")).status_code == 200
    file = (await client.get(f"/v1/files/{answer.headers['x-together-file-id']}")).json()
    assert (file["filename"], file["FileType"]) == ("über rows.csv", "csv")
    answer = await client.get(f"/v1/files/{file['id']}/content")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%BCber%20rows.csv"


async def test_a_form_with_a_file_is_an_upload_as_openai_does(client: httpx.AsyncClient) -> None:
    client.headers["user-agent"] = "OpenAI/Python 3.52.0"
    form = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    answer = await client.post("/v1/files", data=form, files={"file": ("lines.jsonl", LINES)})
    file = answer.json()
    assert answer.status_code == 200
    assert (file["purpose"], file["filename"], file["bytes"]) == ("batch", "lines.jsonl", len(LINES))
    assert file["expires_at"] == file["created_at"] + 3600
    assert await content(client, file["id"]) == LINES
    client.headers["user-agent"] = "Together/Python 3.1.1"
    assert (await files(client))[0]["purpose"] == "batch-api"


async def test_the_contracts_upload_whatever_the_order_of_its_parts(client: httpx.AsyncClient) -> None:
    for order in (("file", "purpose", "file_name"), ("purpose", "file_name", "file")):
        parts = {
            "file": ("x", LINES),
            **fields(purpose="eval", file_name="rows.csv"),
        }
        answer = await client.post("/v1/files/upload", files={name: parts[name] for name in order})
        assert answer.status_code == 200, answer.text
        file = answer.json()
        assert (file["filename"], file["purpose"], file["FileType"]) == ("rows.csv", "eval", "csv")
        assert await content(client, file["id"]) == LINES


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/upload"])
@pytest.mark.parametrize("order", [("checksum", "file"), ("file", "checksum")])
async def test_bytes_that_come_with_another_checksum_are_refused(
    client: httpx.AsyncClient, blobs: Blobs, project: str, path: str, order: tuple[str, str]
) -> None:
    async def sent(checksum: str) -> httpx.Response:
        parts = {"file": ("x.jsonl", LINES), **fields(checksum=checksum)}
        form = [("purpose", (None, "fine-tune")), *((name, parts[name]) for name in order)]
        return await client.post(path, files=form)

    for wrong, code in ((sha256(b"other"), "checksum_mismatch"), ("abc", None)):
        answer = await sent(wrong)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == ("checksum", code)
        await nothing_is_left(client, blobs, project)
    assert (await sent(sha256(LINES).upper())).json()["checksum"] == sha256(LINES)


@one_kind
async def test_what_is_wrong_with_an_announcement_is_said(client: httpx.AsyncClient) -> None:
    for said, param in (
        ({"purpose": "holiday"}, "purpose"),
        ({"file_type": "exe"}, "file_type"),
        ({"file_name": ""}, "file_name"),
        ({"file_name": "folder/"}, "file_name"),
        ({"file_name": "x" * 300 + ".jsonl"}, "file_name"),
        ({"checksum": "abc"}, "checksum"),
    ):
        answer = await announce(client, **said)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param


async def test_what_is_wrong_with_an_upload_is_said(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    async def refused(path: str, status: int = 400, **request: object) -> str:
        answer = await client.post(path, **request)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]["message"]

    file = {"file": ("x.jsonl", LINES)}
    assert "purpose" in await refused("/v1/files", files=file)
    assert "purpose" in await refused("/v1/files/upload", files=file, data={"purpose": "x"})
    assert "file" in await refused("/v1/files/upload", data={"purpose": "eval"})
    assert "file" in await refused("/v1/files/upload", files=fields(purpose="eval"))
    assert "multipart" in await refused("/v1/files", json={"purpose": "eval"})
    two = [("purpose", (None, "eval")), ("file", ("a", b"a")), ("file", ("b", b"b"))]
    assert "One file" in await refused("/v1/files", files=two)
    assert "empty" in await refused("/v1/files", files={"file": ("x", b"")}, data={"purpose": "eval"})
    many = {f"field{number}": "x" for number in range(40)}
    assert "fields" in await refused("/v1/files", files=file, data=many)
    assert "longer" in await refused("/v1/files", files=file, data={"purpose": "x" * 20_000})
    large = {"file": ("x", b"x" * 20_000_001)}
    assert "20000000" in await refused("/v1/files", 413, files=large, data={"purpose": "eval"})
    await nothing_is_left(client, blobs, project)


async def test_a_form_that_is_broken_is_refused(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for body in (
        b"",
        b"no form at all",
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nhalf of the',
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\neval\r\n',
        b"--b\r\ncontent-type: text/plain\r\n\r\nno name\r\n--b--\r\n",
    ):
        answer = await client.post("/v1/files/upload", content=body, headers=headers)
        assert answer.status_code == 400
        await nothing_is_left(client, blobs, project)
    answer = await client.post("/v1/files", content=b"--b", headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400


# --- duplicates -------------------------------------------------------------------------------------------


async def test_the_same_bytes_for_the_same_purpose_are_known(client: httpx.AsyncClient) -> None:
    file = await upload(client, checksum=sha256(LINES))
    again = await announce(client, checksum=sha256(LINES).upper(), file_name="other.jsonl")
    assert again.status_code == 409
    assert again.headers["x-should-retry"] == "false"
    assert again.json()["file_id"] == file["id"]
    assert again.json()["error"]["code"] == "file_exists"
    assert (await announce(client)).status_code == 302  # without a checksum nobody can know
    assert (await announce(client, checksum=sha256(LINES), purpose="eval")).status_code == 302
    await client.delete(f"/v1/files/{file['id']}")
    assert (await announce(client, checksum=sha256(LINES))).status_code == 302


# --- signed URLs ------------------------------------------------------------------------------------------


@one_kind
async def test_a_signed_url_is_good_for_nothing_else(client: httpx.AsyncClient, project: str) -> None:
    location = (await announce(client)).headers["location"]
    other = (await announce(client)).headers["x-together-file-id"]
    id = location.split("/files/")[1].split("/")[0]
    query = location.split("?")[1]
    async with anyone() as anybody:
        for method in ("GET", "DELETE", "POST"):
            assert (await anybody.request(method, location)).status_code == 401
        for wrong in (
            location.replace(id, other),
            location.replace(project, "proj-other"),
            re.sub(r"tutti-expires=\d+", "tutti-expires=99999999999", location),
            location[:-1] + ("0" if location[-1] != "0" else "1"),
            f"{location}&more=1",
            re.sub(r"tutti-signature=\w+", "tutti-signature=", location),
            re.sub(r"tutti-signature=\w+", "tutti-signature=%C3%BC", location),
        ):
            assert (await anybody.put(wrong, content=b"x")).status_code == 403
        no_text = re.sub(r"tutti-signature=\w+", "tutti-signature=%FF", location)
        assert (await anybody.put(no_text, content=b"x")).status_code == 400
        unsigned = location.replace(query, "")
        assert (await anybody.put(unsigned, content=b"x")).status_code == 401
        assert (await anybody.put(location, content=LINES)).status_code == 200
    assert (await client.put(unsigned, content=LINES)).status_code == 403  # a key is not enough either


@one_kind
async def test_a_signed_url_expires(client: httpx.AsyncClient, project: str, settings: Settings) -> None:
    location = (await announce(client)).headers["location"]
    expires_at = int(re.findall(r"tutti-expires=(\d+)", location)[0])
    assert 3500 < expires_at - now() <= 3600
    url, _, _ = location.partition("?")
    me = Caller(key_id="k", key_name="k", project_id=project, organization_id="org")
    signed = SignedUrls(server_secret(settings))
    for lasts_s, status in ((-2, 403), (60, 200)):
        query = signed.query("PUT", url.removeprefix(str(client.base_url).rstrip("/")), me, lasts_s)
        answer = await put(f"{url}?{query}", LINES)
        assert answer.status_code == status, answer.text
        assert status == 200 or answer.json()["error"]["code"] == "expired_signature"


@one_kind
async def test_a_signed_url_is_where_the_client_reached_the_server(client: httpx.AsyncClient) -> None:
    form = {"purpose": "eval", "file_name": "a.jsonl"}
    answer = await client.post("/v1/files", data=form, headers={"host": "tutti.example:81"})
    assert answer.headers["location"].startswith("http://tutti.example:81/v1/files/")
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "tutti.example"}
    answer = await client.post("/v1/files", data=form, headers=forwarded)
    assert answer.headers["location"].startswith("https://tutti.example/v1/files/")
    forwarded = {"x-forwarded-proto": "javascript", "x-forwarded-host": "a/b?c"}
    answer = await client.post("/v1/files", data=form, headers=forwarded)
    assert answer.headers["location"].startswith(f"{client.base_url}/v1/files/".replace("//v1", "/v1"))


@one_kind
async def test_a_signed_url_counts_beside_credentials_that_a_library_adds(client: httpx.AsyncClient) -> None:
    location = (await announce(client)).headers["location"]
    assert (await put(location, LINES, authorization="Basic eDp5")).status_code == 200


# --- broken ones ------------------------------------------------------------------------------------------


async def test_bytes_that_were_not_announced_are_refused(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    location = (await announce(client, checksum=sha256(LINES))).headers["location"]
    for data in (LINES[:-1], LINES + b"x", b""):
        answer = await put(location, data)
        assert answer.status_code == 400
        assert answer.headers["x-should-retry"] == "false"
        await nothing_is_left(client, blobs, project)
    assert (await put(location, LINES)).status_code == 200
    assert len(await files(client)) == 1


async def test_putting_the_same_again_is_no_error_and_other_bytes_are(client: httpx.AsyncClient) -> None:
    location = (await announce(client, checksum=sha256(LINES))).headers["location"]
    id = location.split("/files/")[1].split("/")[0]
    assert [(await put(location, LINES)).status_code for _ in range(2)] == [200, 200]
    assert (await put(location, LINES.upper())).status_code == 400
    assert await content(client, id) == LINES


async def test_what_is_left_of_a_file_is_not_taken_for_the_file(
    client: httpx.AsyncClient, database: Database
) -> None:
    """The 1.x client sends no checksum, and tries again from wherever its file then is."""
    location = (await announce(client)).headers["location"]
    assert (await put(location, LINES, **{"content-length": str(len(LINES))})).status_code == 200
    announced = await announce(client)
    location = announced.headers["location"]

    async def breaking() -> AsyncIterator[bytes]:
        yield LINES[:100]
        await has_begun(database, announced.headers["x-together-file-id"])
        raise ConnectionError("the cable")

    with pytest.raises(ConnectionError):
        await put(location, breaking(), **{"content-length": str(len(LINES))})
    for rest in (LINES[100:], pieces(b"")):
        answer = await put(location, rest)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upload_broken")
    assert len(await files(client)) == 1
    assert (await put(location, LINES)).status_code == 200
    assert len(await files(client)) == 2


async def test_a_file_that_is_too_large_is_refused(
    client: httpx.AsyncClient, blobs: Blobs, project: str
) -> None:
    location = (await announce(client)).headers["location"]
    assert (await put(location, b"x" * 20_000_001)).status_code == 413
    await nothing_is_left(client, blobs, project)


async def test_a_file_larger_than_any_json_body_is_taken(client: httpx.AsyncClient) -> None:
    data = LINES * 500
    assert await content(client, (await upload(client, data))["id"]) == data


# --- tenants ----------------------------------------------------------------------------------------------


async def test_another_projects_files_do_not_exist(client: httpx.AsyncClient, projects: Projects) -> None:
    file = await upload(client, checksum=sha256(LINES))
    _, client = await projects.new()
    path = f"/v1/files/{file['id']}"
    assert await files(client) == []
    for method, where in (
        ("GET", path),
        ("DELETE", path),
        ("GET", f"{path}/content"),
        ("HEAD", f"{path}/content"),
    ):
        assert (await client.request(method, where)).status_code == 404
    assert (await client.post(f"{path}/preprocess")).status_code == 404
    assert (await client.get("/v1/files", params={"after": file["id"]})).status_code == 400
    assert (await announce(client, checksum=sha256(LINES))).status_code == 302  # nor are its bytes known


@one_kind
async def test_no_error_but_the_contracts(client: httpx.AsyncClient) -> None:
    for answer in (await announce(client, purpose="x"), await client.get("/v1/files/none")):
        assert set(json.loads(answer.content)["error"]) == {"message", "type", "param", "code"}
