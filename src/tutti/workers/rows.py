"""Rows of a csv or Parquet file as JSON lines: `python -m tutti.workers.rows csv|parquet < FILE`.

A row of a csv file is `{"line": n, "fields": {...}}`, with the number of its last line in the file. One of a
Parquet file of pre-tokenised samples is `{"line": n, "tokens": n}`, with its own number. What is wrong is
`{"line": n, "error": ..., "param": ...}`, with line 0 for the file as a whole; reading ends with what
leaves nothing to be read. Memory is bounded by the longest row (csv), and by a row group's pages (Parquet).
Whoever reads the output may leave at any time, which ends this. stdin has to be a file, not a pipe.
"""

# pyright: basic
# pyarrow comes without types.

import csv
import json
import signal
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids")
"""Those that the official clients let through."""
_MAX_CELL = 16 * 1024 * 1024
_ROWS = 1024

Line = dict[str, Any]


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    read = {"csv": csv_rows, "parquet": parquet_rows}[sys.argv[1]]
    for line in read(sys.stdin.buffer):
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


def csv_rows(source: BinaryIO) -> Iterator[Line]:
    csv.field_size_limit(_MAX_CELL)
    with TextIOWrapper(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            if not reader.fieldnames:
                yield _wrong(0, "The file has no header: its first line must name the columns.")
                return
            for row in reader:
                yield _cells(reader.line_num, row, len(reader.fieldnames))
        except UnicodeDecodeError as error:
            yield _wrong(reader.line_num + 1, f"The file is not UTF-8 here or soon after ({error.reason}).")
        except csv.Error as error:
            yield _wrong(reader.line_num, f"The line is not CSV: {error}.")


def _cells(number: int, row: Line, count: int) -> Line:
    """A row with too many cells has a column None, one with too few a cell None."""
    if None in row or None in row.values():
        return _wrong(
            number, f"The row has not as many cells as the header, {count}: quote cells with commas."
        )
    return {"line": number, "fields": row}


def parquet_rows(source: BinaryIO) -> Iterator[Line]:
    try:
        with parquet.ParquetFile(source, pre_buffer=False) as file:
            wrong = _wrong_schema(file.schema_arrow)
            if wrong:
                yield wrong
                return
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                yield from _samples(batch, number)
                number += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        yield _wrong(0, f"The file is no sound Parquet file ({reason}).")


def _wrong_schema(schema: pyarrow.Schema) -> Line | None:
    if "input_ids" not in schema.names:
        return _wrong(0, "The file has no column `input_ids`, the tokens of a sample.", "input_ids")
    for name in schema.names:
        if name not in COLUMNS:
            said = f"The column `{name}` is unknown: remove it. Known are {', '.join(COLUMNS)}."
            return _wrong(0, said, name)
        kind = schema.field(name).type
        lists = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
        if not (lists and pyarrow.types.is_integer(kind.value_type)):
            return _wrong(0, f"The column `{name}` must hold lists of integers, but holds {kind}.", name)
    return None


def _samples(batch: pyarrow.RecordBatch, before: int) -> Iterator[Line]:
    lengths = {name: batch[name].value_lengths().to_pylist() for name in batch.schema.names}
    gaps = {name: batch[name].flatten().null_count for name in batch.schema.names}
    for name, count in gaps.items():
        if count:
            rows = f"{before + 1} to {before + batch.num_rows}"
            said = f"The column `{name}` has {count} missing values in rows {rows}: fill them."
            yield _wrong(before + 1, said, name)
    for place, tokens in enumerate(lengths["input_ids"]):
        number = before + place + 1
        odd = next((name for name, counts in lengths.items() if counts[place] != tokens), None)
        if not tokens:
            yield _wrong(number, "The row has no tokens in `input_ids`.", "input_ids")
        elif odd:
            yield _wrong(number, f"`{odd}` must be as long as `input_ids`, {tokens}.", odd)
        else:
            yield {"line": number, "tokens": tokens}


def _wrong(line: int, error: str, param: str | None = None) -> Line:
    return {"line": line, "error": error, "param": param}


if __name__ == "__main__":
    main()
