"""Files through `together` 1.5: SDK and command line."""

import json

import together.filemanager
import together.resources.files
from checks import expect, run
from files_support import FOLDER, command, new_file, sha256
from together import Together
from together.error import APIError, InvalidRequestError

client = Together()


def check_upload_and_delete() -> None:
    path = new_file()
    file = client.files.upload(path)
    assert file.id and file.bytes == path.stat().st_size and file.purpose.value == "fine-tune"
    assert file.id in [it.id for it in client.files.list().data]
    assert client.files.retrieve(file.id).filename == "train.jsonl"
    local = client.files.retrieve_content(file.id, output=FOLDER / "back.jsonl")
    assert (FOLDER / "back.jsonl").read_bytes() == path.read_bytes() and local.size == file.bytes
    assert client.files.delete(file.id).deleted
    assert expect(InvalidRequestError, lambda: client.files.retrieve(file.id)).http_status == 404


def check_every_purpose() -> None:
    for purpose in ("batch-api", "eval", "eval-output"):
        file = client.files.upload(new_file(), purpose=purpose, check=False)
        assert file.purpose.value == purpose
    assert len(client.files.list().data) >= 3


def check_upload_in_parts() -> None:
    together.resources.files.MULTIPART_THRESHOLD_GB = 0
    together.filemanager.TARGET_PART_SIZE_MB = 0.01
    together.filemanager.MIN_PART_SIZE_MB = 0
    path = new_file(2000)
    file = client.files.upload(path)
    assert file.bytes == path.stat().st_size
    client.files.retrieve_content(file.id, output=FOLDER / "parts.jsonl")
    assert sha256(FOLDER / "parts.jsonl") == sha256(path)
    together.resources.files.MULTIPART_THRESHOLD_GB = 5.0


def check_a_wrong_upload_is_refused() -> None:
    path = new_file()
    path.write_text("")
    expect(APIError, lambda: client.files.upload(path, purpose="eval", check=False))


def check_command_line() -> None:
    path = new_file()
    id = json.loads(command("together", "files", "upload", str(path)))["id"]
    assert id in command("together", "files", "list")
    assert json.loads(command("together", "files", "retrieve", id))["bytes"] == path.stat().st_size
    command("together", "files", "retrieve-content", id, "--output", "cli.jsonl")
    assert (FOLDER / "cli.jsonl").read_bytes() == path.read_bytes()
    assert json.loads(command("together", "files", "delete", id))["deleted"]


run(globals())
