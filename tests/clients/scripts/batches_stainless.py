"""Batches through `together` 2.x and 3.x."""

import json
import sys
import time
from pathlib import Path

import together
from together import Together

DATA, SLOW = Path(sys.argv[1]), Path(sys.argv[2])
client = Together()
file = client.files.upload(file=DATA, purpose="batch-api", check=False)
created = client.batches.create(
    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="12h", priority=1
)
job = created.job
assert job is not None and created.warning is None
assert job.status == "VALIDATING" and job.file_size_bytes == DATA.stat().st_size
assert (job.job_deadline - job.created_at).total_seconds() == 12 * 3600
while job.status in ("VALIDATING", "IN_PROGRESS"):
    time.sleep(0.1)
    job = client.batches.retrieve(job.id)
assert job.status == "COMPLETED" and job.progress == 100.0 and job.completed_at is not None, job


def lines(id: str) -> dict[str, dict]:
    text = client.files.content(id).read().decode()
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


good, wrong = lines(job.output_file_id), lines(job.error_file_id)
assert good["good"]["response"]["body"]["choices"][0]["message"]["content"] == "hello there"
assert wrong["wrong"]["response"]["status_code"] == 400 and wrong["wrong"]["error"]["message"]
assert client.files.retrieve(job.output_file_id).purpose == "batch-api"

slow = client.files.upload(file=SLOW, purpose="batch-api", check=False)
other = client.batches.create(input_file_id=slow.id, endpoint="/v1/chat/completions").job
client.batches.cancel(other.id)
while (other := client.batches.retrieve(other.id)).status != "CANCELLED":
    time.sleep(0.1)

assert [it.id for it in client.batches.list()][:2] == [other.id, job.id]
for said in ({"endpoint": "/v1/images/generations"}, {"completion_window": "soon"}):
    try:
        client.batches.create(**{"input_file_id": file.id, "endpoint": "/v1/chat/completions", **said})
    except together.BadRequestError as error:
        assert next(iter(said)) in str(error)
    else:
        raise AssertionError(f"{said} was accepted")
try:
    client.batches.retrieve("nothing")
except together.NotFoundError:
    print("done")
