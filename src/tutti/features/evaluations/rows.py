"""The data of an evaluation: a line of jsonl is a row, and so is a record of csv."""

import csv
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec

from tutti.base.errors import InvalidRequest

Row = dict[str, Any]
_BOM = b"\xef\xbb\xbf"


def rows(lines: AsyncIterator[bytes], file_type: str) -> AsyncIterator[Row]:
    """Raises InvalidRequest, naming the line, for what cannot be read. Empty lines are skipped."""
    return _csv(lines) if file_type == "csv" else _jsonl(lines)


async def _jsonl(lines: AsyncIterator[bytes]) -> AsyncIterator[Row]:
    number = 0
    async for line in lines:
        number += 1
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            yield _object(line, number)


def _object(line: bytes, number: int) -> Row:
    try:
        value: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise _unreadable(number, "is not valid JSON") from None
    if not isinstance(value, dict) or not value:
        raise _unreadable(number, "is not a JSON object with fields")
    return cast(Row, value)


async def _csv(lines: AsyncIterator[bytes]) -> AsyncIterator[Row]:
    names: list[str] = []
    async for number, record in _records(lines):
        cells = _cells(record, number)
        if not any(cells):
            continue
        if not names:
            names = _header(cells, number)
        elif len(cells) != len(names):
            raise _unreadable(number, f"has {len(cells)} fields where the first line names {len(names)}")
        else:
            yield dict(zip(names, cells, strict=True))


async def _records(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """With the number of their first line: a line break inside quotes belongs to the record."""
    number, first = 0, 1
    open_lines: list[bytes] = []
    quotes = 0
    async for line in lines:
        number += 1
        open_lines.append(line.removeprefix(_BOM) if number == 1 else line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield first, b"\n".join(open_lines)
            open_lines, quotes, first = [], 0, number + 1
    if open_lines:
        raise _unreadable(first, "has a quote that is never closed")


def _cells(record: bytes, number: int) -> list[str]:
    try:
        return next(csv.reader([record.decode()], strict=True))
    except UnicodeDecodeError:
        raise _unreadable(number, "is not UTF-8") from None
    except csv.Error as error:
        raise _unreadable(number, f"is not valid CSV: {error}") from None


def _header(cells: list[str], number: int) -> list[str]:
    if len(set(cells)) < len(cells) or not all(cells):
        raise _unreadable(number, "should name the fields, each differently")
    return cells


def _unreadable(number: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"Line {number} of the data {what}.", param="input_data_file_path")
