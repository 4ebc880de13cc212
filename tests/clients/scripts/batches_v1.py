"""Batches through `together` 1.5."""

import json
import sys
import time
from pathlib import Path

from together import Together
from together.error import InvalidRequestError

DATA = Path(sys.argv[1])
client = Together()
file = client.files.upload(str(DATA), purpose="batch-api", check=False)
job = client.batches.create_batch(file.id, "/v1/chat/completions")
assert job.status.value == "VALIDATING" and job.input_file_id == file.id, job
assert job.file_size_bytes == DATA.stat().st_size and job.job_deadline > job.created_at
while job.status.value in ("VALIDATING", "IN_PROGRESS"):
    time.sleep(0.1)
    job = client.batches.get_batch(job.id)
assert job.status.value == "COMPLETED" and job.progress == 100.0 and job.model_id == "echo", job
assert job.completed_at is not None and job.completed_at >= job.created_at

found = {}
for name in ("output_file_id", "error_file_id"):
    target = DATA.with_name(f"v1-{name}.jsonl")
    client.files.retrieve_content(getattr(job, name), output=str(target))
    found |= {line["custom_id"]: line for line in map(json.loads, target.read_text().splitlines())}
assert found["good"]["response"]["status_code"] == 200
assert found["good"]["response"]["body"]["choices"][0]["message"]["content"] == "hello there"
assert found["wrong"]["error"]["message"] and found["wrong"]["response"]["status_code"] == 400

slow = client.files.upload(sys.argv[2], purpose="batch-api", check=False)
other = client.batches.create_batch(slow.id, "/v1/chat/completions")
assert client.batches.cancel_batch(other.id).id == other.id
while client.batches.get_batch(other.id).status.value != "CANCELLED":
    time.sleep(0.1)

assert [it.id for it in client.batches.list_batches()][:2] == [other.id, job.id]
assert {it.id for it in client.files.list().data} >= {file.id, job.output_file_id}
try:
    client.batches.create_batch(file.id, "/v1/nothing")
except InvalidRequestError as error:
    assert "endpoint must be one of" in str(error)
else:
    raise AssertionError("an endpoint that is not there was accepted")
print("done")
