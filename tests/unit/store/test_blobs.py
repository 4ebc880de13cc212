"""The object store: a folder, and a real S3 server."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.s3 import S3Server, s3_server

from tutti.base.errors import Unavailable
from tutti.base.settings import Settings
from tutti.store.blobs import Blobs

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "folder":
        return Blobs.open(Settings(data_dir=tmp_path))
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{server.bucket}/{tmp_path.name}"
    return Blobs.open(Settings(data_dir=tmp_path, blob_url=url, blob_endpoint=server.endpoint))


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def read(blobs: Blobs, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.stream(key, start, end)])


async def test_what_was_put_is_got(blobs: Blobs) -> None:
    await blobs.put("proj-1/file", b"hello")
    assert await blobs.get("proj-1/file") == b"hello"
    assert await blobs.size("proj-1/file") == 5


async def test_putting_again_replaces(blobs: Blobs) -> None:
    await blobs.put("proj-1/file", b"hello")
    await blobs.put("proj-1/file", b"bye")
    assert await blobs.get("proj-1/file") == b"bye"


async def test_a_stream_is_stored_in_parts(blobs: Blobs) -> None:
    await blobs.put("proj-1/file", pieces(*(bytes([i]) * MIB for i in range(20))))
    assert await blobs.size("proj-1/file") == 20 * MIB
    assert await blobs.get("proj-1/file") == b"".join(bytes([i]) * MIB for i in range(20))


async def test_an_empty_object_is_an_object(blobs: Blobs) -> None:
    await blobs.put("proj-1/empty", b"")
    await blobs.put("proj-1/nothing", pieces())
    assert [await blobs.size(f"proj-1/{name}") for name in ("empty", "nothing")] == [0, 0]
    assert await read(blobs, "proj-1/empty") == b""


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, None, b"0123456789"), (3, 5, b"34"), (8, 100, b"89"), (10, None, b""), (99, 100, b""), (4, 4, b"")],
)
async def test_a_range_is_streamed(blobs: Blobs, start: int, end: int | None, expected: bytes) -> None:
    await blobs.put("proj-1/file", b"0123456789")
    assert await read(blobs, "proj-1/file", start, end) == expected


async def test_a_large_object_is_streamed_in_pieces(blobs: Blobs) -> None:
    await blobs.put("proj-1/file", os.urandom(3 * MIB))
    sizes = [len(chunk) async for chunk in blobs.stream("proj-1/file")]
    assert sum(sizes) == 3 * MIB
    assert max(sizes) <= MIB


async def test_an_impossible_range_is_refused(blobs: Blobs) -> None:
    for start, end in ((-1, None), (5, 4)):
        with pytest.raises(ValueError, match="range"):
            await read(blobs, "proj-1/file", start, end)


async def test_a_failed_upload_leaves_what_was_there(blobs: Blobs) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 10 * MIB
        raise KeyError("the client left")

    await blobs.put("proj-1/file", b"before")
    with pytest.raises(KeyError):
        await blobs.put("proj-1/file", broken())
    assert await blobs.get("proj-1/file") == b"before"
    assert await blobs.list("proj-1/") == ["proj-1/file"]


async def test_nothing_is_seen_of_an_unfinished_upload(blobs: Blobs) -> None:
    halfway, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 10 * MIB
        halfway.set()
        await go_on.wait()
        yield b"y"

    upload = asyncio.create_task(blobs.put("proj-1/file", slow()))
    await halfway.wait()
    with pytest.raises(FileNotFoundError):
        await blobs.size("proj-1/file")
    assert await blobs.list("proj-1/") == []
    go_on.set()
    await upload
    assert await blobs.size("proj-1/file") == 10 * MIB + 1


async def test_a_cancelled_upload_leaves_nothing(blobs: Blobs) -> None:
    halfway = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 10 * MIB
        halfway.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(blobs.put("proj-1/file", endless()))
    await halfway.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await blobs.list("proj-1/") == []


async def test_a_listing_stays_below_its_prefix(blobs: Blobs) -> None:
    for key in ("proj-1/b", "proj-1/a/c", "proj-2/a", "proj-10/a"):
        await blobs.put(key, b"")
    assert await blobs.list("proj-1/") == ["proj-1/a/c", "proj-1/b"]
    assert await blobs.list("proj-1/a/") == ["proj-1/a/c"]
    assert await blobs.list("proj-3/") == []


async def test_what_is_deleted_is_gone(blobs: Blobs) -> None:
    await blobs.put("proj-1/file", b"hello")
    await blobs.delete("proj-1/file")
    await blobs.delete("proj-1/file")
    with pytest.raises(FileNotFoundError):
        await blobs.get("proj-1/file")


@pytest.mark.parametrize(
    "key",
    ["", "file", "/proj/file", "proj//file", "proj/../other/file", "proj/./file", "proj/..", "proj/file/",
     "proj\\..\\file", "proj/a b", "proj/a\nb", "proj/a\0", "proj/%2e%2e/x", "proj/.hidden", "~/file",
     "C:/file", "proj/a#1", "proj/é", "proj/" + "a" * 1000],
)  # fmt: skip
async def test_a_key_that_is_no_plain_path_is_refused(blobs: Blobs, key: str) -> None:
    for attempt in (
        blobs.get(key),
        blobs.put(key, b""),
        blobs.size(key),
        blobs.delete(key),
        read(blobs, key),
    ):
        with pytest.raises(ValueError, match="not a blob key"):
            await attempt


@pytest.mark.parametrize("prefix", ["", "/", "proj", "../", "proj/../", "proj//"])
async def test_a_prefix_that_is_no_folder_is_refused(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(ValueError, match="not a prefix"):
        await blobs.list(prefix)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=5).map("/".join))
def test_no_key_reaches_outside_the_folder(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    blobs = Blobs.open(Settings(data_dir=folder))
    try:
        asyncio.run(blobs.put(key, b"x"))
    except ValueError:
        return
    assert (folder / "blobs" / key).resolve().is_relative_to(folder / "blobs")
    assert (folder / "blobs" / key).read_bytes() == b"x"
    asyncio.run(blobs.delete(key))


async def test_an_s3_server_that_is_gone_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    settings = Settings(data_dir=tmp_path, blob_url="s3://b", blob_endpoint="http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await Blobs.open(settings).get("proj-1/file")
