"""Batches through `openai`."""

import json
import sys
import time
from pathlib import Path

import openai
from openai import OpenAI

DATA, SLOW = Path(sys.argv[1]), Path(sys.argv[2])
client = OpenAI()
file = client.files.create(file=DATA, purpose="batch")
batch = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
    metadata={"made": "here"},
)
assert batch.object == "batch" and batch.status == "validating" and batch.metadata == {"made": "here"}
assert batch.expires_at == batch.created_at + 24 * 3600
while batch.status in ("validating", "in_progress", "finalizing"):
    time.sleep(0.1)
    batch = client.batches.retrieve(batch.id)
assert batch.status == "completed" and batch.model == "echo", batch
counts = batch.request_counts
assert (counts.total, counts.completed, counts.failed) == (2, 1, 1)
assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0
assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at


def lines(id: str) -> dict[str, dict]:
    return {line["custom_id"]: line for line in map(json.loads, client.files.content(id).text.splitlines())}


good, wrong = lines(batch.output_file_id)["good"], lines(batch.error_file_id)["wrong"]
assert good["error"] is None and good["id"] and good["response"]["request_id"]
assert good["response"]["body"]["choices"][0]["message"]["content"] == "hello there"
assert wrong["response"]["status_code"] == 400

broken = client.files.create(file=("broken.jsonl", b'{"custom_id": "a"}\n'), purpose="batch")
failed = client.batches.create(
    input_file_id=broken.id, endpoint="/v1/chat/completions", completion_window="24h"
)
while (failed := client.batches.retrieve(failed.id)).status != "failed":
    time.sleep(0.1)
assert failed.errors.data[0].line == 1 and failed.errors.data[0].param == "body" and failed.failed_at

slow = client.files.create(file=SLOW, purpose="batch")
other = client.batches.create(input_file_id=slow.id, endpoint="/v1/chat/completions", completion_window="24h")
assert client.batches.cancel(other.id).status in ("cancelling", "cancelled")
while (other := client.batches.retrieve(other.id)).status != "cancelled":
    time.sleep(0.1)
assert other.cancelling_at <= other.cancelled_at

listed = [it.id for it in client.batches.list(limit=1)]  # page after page
assert listed[:3] == [other.id, failed.id, batch.id]
try:
    client.batches.retrieve("nothing")
except openai.NotFoundError:
    print("done")
