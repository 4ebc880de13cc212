"""Reading the data."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tutti.base.errors import InvalidRequest
from tutti.features.evaluations.rows import json_rows


async def lines_of(data: str | bytes) -> AsyncIterator[bytes]:
    for line in (data.encode() if isinstance(data, str) else data).split(b"\n"):
        yield line


async def read(data: str | bytes) -> list[Any]:
    return [row.fields async for row in json_rows(lines_of(data))]


async def test_a_line_of_jsonl_is_a_row() -> None:
    assert await read('{"a": 1}\n\n{"a": [2], "b": "ü"}') == [{"a": 1}, {"a": [2], "b": "ü"}]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('{"a": 1}\n{', 2),
        ('{"a": 1}\n\n[1]', 3),
        ("{}", 1),
        (b'{"a": "\xff"}', 1),
        ("[" * 10_000, 1),
        ('{"a":' * 500 + "1" + "}" * 500, 1),
    ],
)
async def test_a_line_that_is_no_object_is_named(data: str | bytes, line: int) -> None:
    with pytest.raises(InvalidRequest, match=f"Line {line} of the data"):
        await read(data)
