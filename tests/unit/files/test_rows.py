"""The programs that read the rows of tables, on files that are hostile or merely odd."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

Line = dict[str, Any]
SWELLS = Path(__file__).with_name("swells.parquet")


def read(kind: str, data: bytes, folder: Any) -> list[Line]:
    return peak_and_lines(kind, data, folder)[1]


def peak_and_lines(kind: str, data: bytes, folder: Any) -> tuple[int, list[Line]]:
    """The memory that the reader took, in bytes, and what it said."""
    path = folder / "data"
    path.write_bytes(data)
    argv = [sys.executable, "-m", f"tutti.workers.rows.{kind}"]
    with path.open("rb") as source, subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024, [json.loads(line) for line in said.split(b"\n") if line]


def fields(data: str | bytes, folder: Any) -> list[Any]:
    lines = read("csv", data.encode() if isinstance(data, str) else data, folder)
    return [line.get("fields", line.get("error")) for line in lines]


def table(*rows: int) -> bytes:
    """A file whose rows have so many zeros: repeated, they take no room."""
    lists = pyarrow.ListArray.from_arrays(
        pyarrow.array([sum(rows[:place]) for place in range(len(rows) + 1)], pyarrow.int32()),
        pyarrow.repeat(pyarrow.scalar(0, pyarrow.int64()), sum(rows)),
    )
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"input_ids": lists}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


# --- csv --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_are_separated_by_what_separates_the_header(separator: str, tmp_path: Any) -> None:
    data = (
        f'\ufeffmy question{separator}"an, answer; or\ttwo"\r\n2+2{separator}"4\n,;"\r\n\r\n{separator}\r\n'
    )
    assert fields(data, tmp_path) == [{"my question": "2+2", "an, answer; or\ttwo": "4\n,;"}]


def test_only_a_line_feed_ends_a_line(tmp_path: Any) -> None:
    assert fields('a,b\n1\u2028\x0b2\x85,"3\r4"\n', tmp_path) == [{"a": "1\u2028\x0b2\x85", "b": "3\r4"}]
    assert "a carriage return stands outside quotes" in fields("a,b\r1,2\r", tmp_path)[0]


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        ("a,b\n1,2\n\n3", 4, "has 1 cells where the header names 2"),
        ("a,a\n1,2", 1, "`a` is there twice"),
        ("a,\n1,2", 1, "column 2 has no name"),
        ('a,b\n"1\n2,3', 2, "unexpected end"),
        (b"a,b\n1,2\n\xff,1", 3, "not UTF-8"),
        ('a,b\n"x"y"",1', 2, "not CSV"),
        ("", 0, "no header"),
        ("a" * 2000 + "\n1", 1, "more than 1000 characters"),
    ],
)
def test_a_broken_record_is_named_by_its_first_line(
    data: str | bytes, line: int, why: str, tmp_path: Any
) -> None:
    error = read("csv", data.encode() if isinstance(data, str) else data, tmp_path)[-1]
    assert error["line"] == line and why in error["error"]


def test_a_row_of_many_cells_that_each_are_small_is_told_and_reading_goes_on(tmp_path: Any) -> None:
    names = ",".join(map(str, range(40)))
    wide = ",".join(["x" * 500_000] * 40)
    first, second = read("csv", f"{names}\n{wide}\n{','.join(['y'] * 40)}\n".encode(), tmp_path)
    assert first["error"].startswith("Row 2 is too large") and second["fields"]["39"] == "y"


# --- Parquet ----------------------------------------------------------------------------------------------


def test_a_row_that_swells_is_named_and_takes_no_more_than_its_limit(tmp_path: Any) -> None:
    """Its two columns are 150 million zeros each."""
    peak, lines = peak_and_lines("parquet", SWELLS.read_bytes(), tmp_path)
    assert [line["line"] for line in lines] == [1] and lines[0]["error"].startswith("Row 1 is too large")
    assert peak < 1_500_000_000


def test_one_row_that_is_too_large_is_named_among_others(tmp_path: Any) -> None:
    lines = read("parquet", table(3, 2, 20_000_000, 1), tmp_path)
    assert [line.get("tokens") for line in lines] == [3, 2, None, 1]
    assert lines[2]["line"] == 3 and lines[2]["error"].startswith("Row 3 is too large")


def test_many_long_rows_are_read_a_few_at_a_time(tmp_path: Any) -> None:
    data = table(*[200_000] * 100)
    assert [line["tokens"] for line in read("parquet", data, tmp_path)] == [200_000] * 100
