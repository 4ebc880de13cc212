"""The check of one file, line by line, in flat memory."""

from collections.abc import Mapping
from typing import cast

import msgspec

from tutti.features.files.checks.batch import MAX_REQUESTS, check_batch
from tutti.features.files.checks.messages import Facts
from tutti.features.files.checks.report import (
    LONGEST_MESSAGE,
    LONGEST_PARAM,
    MAX_ERRORS,
    MAX_FIELDS,
    LineError,
    Report,
)
from tutti.features.files.checks.training import check_training
from tutti.features.files.checks.unique import FirstLines
from tutti.features.files.checks.wrong import Json, Wrong, kind, shorter

_BATCH = ("batch-api", "batch")
_TYPES: Mapping[str, tuple[str, ...]] = {
    "fine-tune": ("jsonl", "parquet"),
    "calibration": ("jsonl", "parquet"),
    **dict.fromkeys(("eval", "evals"), ("jsonl", "csv")),
    **dict.fromkeys(_BATCH, ("jsonl",)),
}
BOM = b"\xef\xbb\xbf"
"""Excel and PowerShell write this byte order mark. It belongs to no line."""


class Row(msgspec.Struct, frozen=True):
    """A row that workers/rows has read: the fields of one of a csv file, the tokens of one of a Parquet file,
    or its error."""

    line: int
    fields: Json = {}
    tokens: int | None = None
    error: str = ""
    param: str | None = None


def is_checked(purpose: str) -> bool:
    return purpose in _TYPES


class Check:
    """A check that takes lines in order and gives a report at its `end`. Stop when it is `full`."""

    def __init__(self, purpose: str, file_type: str) -> None:
        """Begin the check of a file with a purpose for which `is_checked` is true."""
        self._report = Report()
        self._facts: Facts = set()
        self._fields: set[str] | None = None
        self._ids = FirstLines()
        self._room = MAX_ERRORS
        self._reading = f"load_{file_type}"
        self._look = self._training if purpose == "fine-tune" else self._any
        if purpose in _BATCH:
            self._look = self._batch
        if file_type not in _TYPES[purpose]:
            types = " or ".join(_TYPES[purpose])
            self.wrong(0, f"A {file_type} file cannot be used for {purpose}: give {types}.", code="filetype")

    @property
    def full(self) -> bool:
        """True if further lines would change nothing in the report."""
        return self._room <= 0

    def line(self, number: int, data: bytes) -> None:
        """Check a line of a jsonl file. `number` counts from 1, empty lines included; `data` may have its
        line end."""
        if not data or data.isspace():
            return
        self._report.lines += 1
        try:
            self._look(number, _object(number, data))
        except Wrong as wrong:
            self.wrong(number, wrong.message, wrong.param, wrong.code)

    def row(self, row: Row) -> None:
        """Check a row of a csv or Parquet file."""
        if row.error:
            self.wrong(row.line, row.error, row.param, self._reading)
            return
        self._report.lines += 1
        if row.tokens is None:
            self._any(row.line, row.fields)
        else:
            self._report.format = "tokens"
            self._report.tokens["*"] = self._report.tokens.get("*", 0) + row.tokens

    def wrong(self, number: int, message: str, param: str | None = None, code: str = "key_value") -> None:
        named = None if param is None else shorter(param, LONGEST_PARAM)
        self._report.errors.append(LineError(number, shorter(message, LONGEST_MESSAGE), named, code))
        self._room -= 1 if number else MAX_ERRORS

    def close(self) -> None:
        """Give up what the check keeps. `end` does so, too."""
        self._ids.close()

    def end(self) -> Report:
        self.close()
        report = self._report
        if not (report.lines or report.errors):
            self.wrong(0, "The file has no lines: it needs at least one.", code="has_min_samples")
        report.errors.sort(key=lambda error: error.line)
        report.facts = sorted(self._facts)
        report.fields = [shorter(name, LONGEST_PARAM) for name in sorted(self._fields or ())[:MAX_FIELDS]]
        return report

    def _training(self, _number: int, fields: Json) -> None:
        found, report = check_training(fields, self._facts), self._report
        report.format = report.format or found
        if found != report.format:
            raise Wrong(
                f"The line is {found}, but those before it are {report.format}: keep to one format.",
                code="format",
            )

    def _batch(self, number: int, fields: Json) -> None:
        self._report.format = "batch"
        if self._report.lines > MAX_REQUESTS:
            self.wrong(0, f"A batch may have at most {MAX_REQUESTS} requests: split the file.")
            return
        custom_id = check_batch(fields)
        if first := self._ids.add(custom_id, number):
            message = f"`custom_id` is that of line {first}: give each line its own."
            self.wrong(number, message, "custom_id")

    def _any(self, _number: int, fields: Json) -> None:
        self._report.format = "objects"
        if self._fields is None:
            self._fields = set(fields)
        elif len(self._fields) != len(fields) or not self._fields <= fields.keys():
            self._fields &= fields.keys()


def _object(number: int, data: bytes) -> Json:
    try:
        value = msgspec.json.decode(data.removeprefix(BOM) if number == 1 else data)
    except UnicodeDecodeError as error:
        raise Wrong(f"The line is not UTF-8 ({error.reason}): save the file as UTF-8.", code="utf8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"The line is not JSON ({error}): each must hold one JSON object."
        raise Wrong(message, code="load_json") from None
    if not isinstance(value, dict):
        raise Wrong(f"The line is {kind(value)}: each must hold one JSON object.", code="line_type")
    return cast(Json, value)
