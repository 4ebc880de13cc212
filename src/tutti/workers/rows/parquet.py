"""Rows of a Parquet file of pre-tokenised samples: `python -m tutti.workers.rows.parquet < FILE`; see
workers/rows/lines. stdin has to be a file, not a pipe.

A row is `{"line": n, "tokens": n}`, where `line` is the row's number. Lists of repeated values take next to
no room in a file, whatever their length. So the number of rows in a batch follows from the number of values
that the file's metadata names. If the metadata is wrong, or one row alone is too large, the memory limit
catches it.
"""

# pyright: basic
# pyarrow comes without types.

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow
from pyarrow import parquet

from tutti.workers.rows.lines import Line, too_large, write_rows, wrong

COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids")
"""The columns that the official clients accept."""
_BATCH_ROWS = 1024
_BATCH_VALUES = 4 * 1024 * 1024
"""The most values of all columns in a batch."""
_MOST_TOKENS = 16 * 1024 * 1024
"""The most tokens of a row: more than the context of any model."""


def parquet_rows(source: BinaryIO) -> Iterator[Line]:
    # The default pool reserves address space in advance, which the memory limit would count.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    pyarrow.set_cpu_count(1)
    try:
        with parquet.ParquetFile(source, pre_buffer=False) as file:
            if fault := _wrong_schema(file.schema_arrow):
                yield fault
                return
            yield from _groups(file)
    except MemoryError:
        yield wrong(0, "The file's description of itself is too large.")
    except (pyarrow.ArrowException, OSError) as error:
        yield wrong(0, f"The file is no sound Parquet file ({str(error).split(chr(10))[0]}).")


def _groups(file: parquet.ParquetFile) -> Iterator[Line]:
    before = 0
    for index in range(file.num_row_groups):
        metadata = file.metadata.row_group(index)
        try:
            yield from _rows(file, index, before, _batch_rows(metadata))
        except MemoryError:
            yield too_large(_first_too_large(file, index, before))
            return
        before += metadata.num_rows


def _rows(file: parquet.ParquetFile, group: int, before: int, batch_rows: int) -> Iterator[Line]:
    for batch in _batches(file, group, batch_rows):
        yield from _samples(batch, before)
        before += batch.num_rows


def _batches(file: parquet.ParquetFile, group: int, batch_rows: int) -> Iterator[pyarrow.RecordBatch]:
    return file.iter_batches(batch_size=batch_rows, row_groups=[group], use_threads=False)


def _batch_rows(metadata: parquet.RowGroupMetaData) -> int:
    values = sum(metadata.column(it).num_values for it in range(metadata.num_columns))
    return max(1, min(_BATCH_ROWS, _BATCH_VALUES * metadata.num_rows // max(1, values)))


def _first_too_large(file: parquet.ParquetFile, group: int, before: int) -> int:
    """Return the number of the first row that cannot be read by itself."""
    number = before + 1
    try:
        for batch in _batches(file, group, 1):
            number += batch.num_rows
    except MemoryError:
        pass
    return number


def _wrong_schema(schema: pyarrow.Schema) -> Line | None:
    if "input_ids" not in schema.names:
        return wrong(0, "The file has no column `input_ids`, the tokens of a sample.", "input_ids")
    for name in schema.names:
        if name not in COLUMNS:
            message = f"The column `{name}` is unknown: remove it. Known are {', '.join(COLUMNS)}."
            return wrong(0, message, name)
        kind = schema.field(name).type
        lists = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
        if not (lists and pyarrow.types.is_integer(kind.value_type)):
            return wrong(0, f"The column `{name}` must hold lists of integers, but holds {kind}.", name)
    return None


def _samples(batch: pyarrow.RecordBatch, before: int) -> Iterator[Line]:
    lengths = {name: batch[name].value_lengths().to_pylist() for name in batch.schema.names}
    gaps = {name: batch[name].flatten().null_count for name in batch.schema.names}
    for name, count in gaps.items():
        if count:
            rows = f"{before + 1} to {before + batch.num_rows}"
            message = f"The column `{name}` has {count} missing values in rows {rows}: fill them."
            yield wrong(before + 1, message, name)
    for index, tokens in enumerate(lengths["input_ids"]):
        number = before + index + 1
        odd = next((name for name, counts in lengths.items() if counts[index] != tokens), None)
        if not tokens:
            yield wrong(number, "The row has no tokens in `input_ids`.", "input_ids")
        elif tokens > _MOST_TOKENS:
            yield too_large(number)
        elif odd:
            yield wrong(number, f"`{odd}` must be as long as `input_ids`, {tokens}.", odd)
        else:
            yield {"line": number, "tokens": tokens}


if __name__ == "__main__":
    write_rows(parquet_rows)
