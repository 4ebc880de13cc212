"""Lines that odd programs write, and lines that every program reads."""

import json

import pytest
from tests.api.batches.conftest import Client, chat

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_byte_order_mark_is_read_past_and_results_are_lines_for_every_reader(
    client: Client,
) -> None:
    odd = "a\u2028b\u2029c\x85d\x0be\x1cf\rg"
    lines = [chat(f"{odd}-{number}", odd) for number in range(3)]
    text = "\ufeff" + "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    batch = await client.ended((await client.create(text))["id"])
    assert batch["status"] == "COMPLETED", batch
    answer = await client.http.get(f"/v1/files/{batch['output_file_id']}/content")
    results = [json.loads(line) for line in answer.content.decode().splitlines()]
    assert sorted(it["custom_id"] for it in results) == [line["custom_id"] for line in lines]
    assert odd in results[0]["response"]["body"]["choices"][0]["message"]["content"]
