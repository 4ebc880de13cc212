"""Files through `openai`."""

from checks import expect, run
from files_support import FOLDER, new_file
from openai import NotFoundError, OpenAI

client = OpenAI()


def check_upload_and_delete() -> None:
    path = new_file()
    with path.open("rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    assert (file.bytes, file.filename, file.purpose) == (path.stat().st_size, "train.jsonl", "fine-tune")
    assert file.status in ("uploaded", "processed") and file.object == "file"
    assert (
        client.files.wait_for_processing(file.id, poll_interval=0.1, max_wait_seconds=60).status
        == "processed"
    )
    assert client.files.content(file.id).read() == path.read_bytes()
    with client.files.with_streaming_response.content(file.id) as answer:
        answer.stream_to_file(FOLDER / "back.jsonl")
    assert (FOLDER / "back.jsonl").read_bytes() == path.read_bytes()
    assert client.files.delete(file.id).deleted
    expect(NotFoundError, lambda: client.files.retrieve(file.id))


def check_pages() -> None:
    body = (b'{"text": "x"}\n', b'{"text": "y"}\n', b'{"text": "z"}\n')
    made = [client.files.create(file=("a.jsonl", it), purpose="user_data").id for it in body]
    listed = [file.id for file in client.files.list(purpose="user_data", limit=2, order="asc")]
    assert listed == made
    assert {*made} <= {file.id for file in client.files.list()}


def check_expiry() -> None:
    expiry = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch", expires_after=expiry)
    assert (file.purpose, file.expires_at) == ("batch", file.created_at + 3600)


run(globals())
