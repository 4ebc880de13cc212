"""Files through `together` 2.x and 3.x: SDK and command line."""

import json

import together
from checks import expect, run
from files_support import FOLDER, command, new_file, sha256
from together import AsyncTogether, NotFoundError, Together
from together.lib.resources import files as files_module
from together.lib.resources.files import FileAlreadyExistsError

client = Together()


def check_upload_and_delete() -> None:
    path, seen = new_file(), []
    file = client.files.upload(path, progress_callback=lambda event: seen.append(event.uploaded_bytes))
    assert (file.bytes, file.filename, file.file_type) == (path.stat().st_size, "train.jsonl", "jsonl")
    assert seen[-1] == file.bytes
    assert file.id in [it.id for it in client.files.list().data]
    assert client.files.retrieve(file.id).purpose == "fine-tune"
    assert client.files.content(file.id).read() == path.read_bytes()
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.deleted) == (file.id, True)
    expect(NotFoundError, lambda: client.files.retrieve(file.id))
    expect(NotFoundError, lambda: client.files.content(file.id))


def check_the_same_file_is_known() -> None:
    path = new_file()
    file = client.files.upload(path)
    assert client.files.upload(path).id == file.id
    known = expect(FileAlreadyExistsError, lambda: client.files.upload(path, raise_if_already_exists=True))
    assert known.file_id == file.id


def check_every_purpose() -> None:
    for purpose in ("batch-api", "eval", "calibration"):
        file = client.files.upload(new_file(), purpose=purpose, check=False)
        assert client.files.retrieve(file.id).purpose == purpose


async def check_upload_async() -> None:
    async with AsyncTogether() as client:
        path = new_file()
        file = await client.files.upload(path)
        content = await client.files.content(file.id)
        assert await content.read() == path.read_bytes()


def check_upload_in_parts() -> None:
    files_module.MULTIPART_THRESHOLD_GB = 0
    files_module.TARGET_PART_SIZE_MB = 0.01
    files_module.MIN_PART_SIZE_MB = 0
    path = new_file(2000)
    file = client.files.upload(path)
    assert file.bytes == path.stat().st_size
    with client.files.with_streaming_response.content(file.id) as answer:
        answer.stream_to_file(FOLDER / "parts.jsonl")
    assert sha256(FOLDER / "parts.jsonl") == sha256(path)
    assert client.files.upload(path).id == file.id
    files_module.MULTIPART_THRESHOLD_GB = 5.0


def check_command_line() -> None:
    """`tg` and `together` are one program, which takes two seconds a command: all of them for 3.x only."""
    path = new_file()
    if not together.__version__.startswith("3."):
        id = json.loads(command("together", "files", "upload", str(path), "--json"))["id"]
        assert "train.jsonl" in command("together", "files", "retrieve", id)
        return
    file = json.loads(command("tg", "files", "upload", str(path), "--json"))
    assert file["bytes"] == path.stat().st_size
    id = file["id"]
    assert id in command("tg", "files", "list", "--json")
    assert "train.jsonl" in command("tg", "files", "retrieve", id)
    command("tg", "files", "retrieve-content", id, "--output", "downloads")
    assert (FOLDER / "downloads" / "train.jsonl").read_bytes() == path.read_bytes()
    command("tg", "files", "delete", id)
    expect(NotFoundError, lambda: client.files.retrieve(id))


run(globals())
