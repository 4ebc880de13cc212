"""The data of an evaluation: a line of jsonl is a row, and so is a record of csv."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from tutti.base.errors import InvalidRequest
from tutti.features.files.service import lines
from tutti.features.files.table import table_rows
from tutti.http.body import check
from tutti.platform import Platform
from tutti.store.records import File

Row = dict[str, Any]
_MOST_NAMES = 20
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Read:
    """A row, and its approximate length in the file."""

    fields: Row
    size_bytes: int


def rows(platform: Platform, file: File) -> AsyncGenerator[Read]:
    """Yield the rows; empty lines are skipped. Raise InvalidRequest, naming the line, for one that can't be
    read."""
    return _csv(platform, file) if file.file_type == "csv" else json_rows(lines(platform, file))


def named(fields: Mapping[str, Any]) -> str:
    """Return the names of the fields for a message: only the first ones, if there are many."""
    shown = ", ".join(f"`{name[:_LONGEST_NAME]}`" for name in islice(fields, _MOST_NAMES))
    more = len(fields) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


async def json_rows(lines: AsyncIterator[bytes]) -> AsyncGenerator[Read]:
    number = 0
    async for line in lines:
        number += 1
        if line.strip():
            yield Read(_object(line, number), len(line))


def _object(line: bytes, number: int) -> Row:
    try:
        value = check(line)
    except InvalidRequest as error:
        raise _unreadable(number, error.message.replace("The body is", "It is")) from None
    if not isinstance(value, dict) or not value:
        raise _unreadable(number, "It is not a JSON object with fields.")
    return cast(Row, value)


async def _csv(platform: Platform, file: File) -> AsyncGenerator[Read]:
    async with aclosing(table_rows(platform, file)) as table:
        async for row in table:
            if row.error:
                raise _unreadable(row.line, row.error)
            yield Read(row.fields, sum(map(len, row.fields.values())))


def _unreadable(number: int, why: str) -> InvalidRequest:
    return InvalidRequest(f"Line {number} of the data cannot be read. {why}", param="input_data_file_path")
