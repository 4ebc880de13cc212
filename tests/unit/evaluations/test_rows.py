"""Reading the data."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tutti.base.errors import InvalidRequest
from tutti.features.evaluations.rows import rows


async def lines_of(data: str | bytes) -> AsyncIterator[bytes]:
    for line in (data.encode() if isinstance(data, str) else data).split(b"\n"):
        yield line.removesuffix(b"\r")


async def read(data: str | bytes, file_type: str = "jsonl") -> list[Any]:
    return [row async for row in rows(lines_of(data), file_type)]


async def test_a_line_of_jsonl_is_a_row() -> None:
    assert await read('\ufeff{"a": 1}\n\n{"a": [2], "b": "ü"}\r\n') == [{"a": 1}, {"a": [2], "b": "ü"}]


async def test_csv_has_the_names_in_its_first_line() -> None:
    data = '\ufeffname,"the ""answer"""\r\nBob,"one, two\nthree"\r\n\r\n"",x'
    assert await read(data, "csv") == [
        {"name": "Bob", 'the "answer"': "one, two\nthree"},
        {"name": "", 'the "answer"': "x"},
    ]


@pytest.mark.parametrize(
    ("data", "line"),
    [('{"a": 1}\n{', 2), ('{"a": 1}\n\n[1]', 3), ("{}", 1), (b'{"a": "\xff"}', 1), ("[" * 10_000, 1)],
)
async def test_a_line_that_is_no_object_is_named(data: str | bytes, line: int) -> None:
    with pytest.raises(InvalidRequest, match=f"Line {line} of the data"):
        await read(data)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("a,b\n1,2\n3", 3),
        ("a,a\n1,2", 1),
        ("a,\n1,2", 1),
        ('a,b\n"1\n2,3', 2),
        (b"a,b\n\xff,1", 2),
        ('a,b\n"x"y"",1', 2),
    ],
)
async def test_a_broken_record_is_named_by_its_first_line(data: str | bytes, line: int) -> None:
    with pytest.raises(InvalidRequest, match=f"Line {line} of the data"):
        await read(data, "csv")
