"""Rows of a csv file: `python -m tutti.workers.rows.csv < FILE`; see workers/rows/lines.

A row is `{"line": n, "fields": {...}}`, where n is the number of its first line in the file. Rows whose cells
are all empty are skipped. Only a line feed ends a line. The separator is the one that the header uses: comma,
or else semicolon or tab, as spreadsheets write them in many countries. A byte order mark is skipped.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from tutti.workers.rows.lines import Line, too_large, write_rows, wrong

_MAX_CELL = 16 * 1024 * 1024
_LONGEST_NAME = 1000
_QUOTED = re.compile('"[^"]*"')
_SEPARATORS = (",", ";", "\t")
_RETURN = "a carriage return stands outside quotes, but a line ends with a line feed"
_BOM = b"\xef\xbb\xbf"


def csv_rows(source: BinaryIO) -> Iterator[Line]:
    csv.field_size_limit(_MAX_CELL)
    records = _Records(source)
    try:
        yield from _rows(records)
    except MemoryError:
        yield too_large(records.line)
    except UnicodeDecodeError as error:
        yield wrong(records.line, f"The row is not UTF-8 ({error.reason}): save the file as UTF-8.")
    except csv.Error as error:
        reason = _RETURN if str(error).startswith("new-line") else str(error)
        yield wrong(records.line, f"The row is not CSV: {reason}.")


class _Records:
    """The records of a file. `line` is the number of the line where the current record begins."""

    def __init__(self, source: BinaryIO) -> None:
        self.line = 1
        self._source = source

    def __iter__(self) -> Iterator[Sequence[str]]:
        first = self._source.readline().removeprefix(_BOM).decode()
        lines = chain([first], map(bytes.decode, self._source))
        reader = csv.reader(lines, delimiter=_separator(first), strict=True)
        for cells in reader:
            yield cells
            self.line = reader.line_num + 1


def _separator(header: str) -> str:
    plain = _QUOTED.sub("", header)
    return next((it for it in _SEPARATORS if it in plain), ",")


def _rows(records: _Records) -> Iterator[Line]:
    names: Sequence[str] = ()
    for cells in records:
        if not any(cells):
            continue
        if not names:
            if fault := _fault(cells):
                yield wrong(records.line, fault)
                return
            names = cells
        elif len(cells) == len(names):
            yield {"line": records.line, "fields": dict(zip(names, cells, strict=True))}
        else:
            counts = f"The row has {len(cells)} cells where the header names {len(names)}"
            yield wrong(records.line, f"{counts}: quote cells that contain separators.")
    if not names:
        yield wrong(0, "The file has no header: its first line must name the columns.")


def _fault(names: Sequence[str]) -> str:
    """Return what is wrong with the header, if anything is."""
    if not all(names):
        return f"The header must name each column, but column {list(names).index('') + 1} has no name."
    twice = next((it for it in names if names.count(it) > 1), "") if len(set(names)) < len(names) else ""
    if twice:
        return f"The header must name each column differently, but `{twice[:80]}` is there twice."
    if any(len(it) > _LONGEST_NAME for it in names):
        return f"The header has a name of more than {_LONGEST_NAME} characters: is the first line a header?"
    return ""


if __name__ == "__main__":
    write_rows(csv_rows)
