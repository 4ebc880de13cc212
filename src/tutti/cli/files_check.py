"""`tutti files check`: the server's check of a file, made without a server."""

import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tutti.cli.options import AsJson
from tutti.cli.output import note, write, write_json
from tutti.features.files.checks.file import Check, Row, is_checked
from tutti.features.files.checks.report import LineError, Report, validation_report
from tutti.process.child import worker_argv

_TYPES = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_READING = {".jsonl": "load_json", ".csv": "load_csv", ".parquet": "load_parquet"}
_MAX_LINE_BYTES = 16 * 1024 * 1024


def check(
    file: Annotated[Path, typer.Argument(help="A .jsonl, .csv or .parquet file.")],
    purpose: Annotated[
        str, typer.Option(help="Purpose of the file: fine-tune, eval or batch-api.")
    ] = "fine-tune",
    as_json: AsJson = False,
) -> None:
    """Check a file before it is uploaded. The exit status is 1 if something is wrong."""
    if not is_checked(purpose):
        raise typer.BadParameter(f"files for {purpose} are not checked", param_hint="--purpose")
    report = look(file, purpose)
    if as_json:
        write_json(as_json_report(file, report))
    elif report.sound:
        write("OK Checks passed\n")
    else:
        tell_wrong(report)
    if not report.sound:
        raise typer.Exit(1)


def tell_wrong(report: Report) -> None:
    """Print the first error to stdout, and the others to stderr."""
    write(f"X {report.summary()}\n")
    for error in report.errors[1:]:
        note(f"line {error.line}: {error.message}" if error.line else error.message)


def look(file: Path, purpose: str) -> Report:
    return _refusal(file) or _checked(file, purpose)


def as_json_report(file: Path, report: Report) -> dict[str, Any]:
    """Return the report as JSON: the members of the official client's report, then those of the server's."""
    failed = {error.code for error in report.errors}
    found = file.is_file()
    members: dict[str, Any] = {
        "is_check_passed": report.sound,
        "message": report.summary(),
        "found": found,
        "file_size": file.stat().st_size if found else None,
        "filetype": _TYPES.get(file.suffix),
        "num_samples": report.lines or None,
    }
    parts = ("utf8", "line_type", "text_field", "key_value", "format", "has_min_samples")
    members |= {name: name not in failed if found else None for name in parts}
    if file.suffix in _READING:
        members[_READING[file.suffix]] = _READING[file.suffix] not in failed
    if not report.sound and report.errors[0].line:
        members["line_number"] = report.errors[0].line
    return members | validation_report(report)


def _refusal(file: Path) -> Report | None:
    """Report what is wrong with a file before it is opened, or None."""
    if not file.is_file():
        return _one(f"There is no file {file}.", "found")
    if file.suffix not in _TYPES:
        return _one(
            f"{file.name} does not end with one of {', '.join(_TYPES)}: rename it after its format.",
            "filetype",
        )
    if not file.stat().st_size:
        return _one("The file is empty.", "has_min_samples")
    return None


def _one(message: str, code: str) -> Report:
    return Report(errors=[LineError(0, message, code=code)])


def _checked(file: Path, purpose: str) -> Report:
    with closing(Check(purpose, _TYPES[file.suffix])) as check:
        if file.suffix == ".jsonl":
            _read_lines(file, check)
        elif not check.full:
            _read_rows(file, check)
        return check.end()


def _read_lines(file: Path, check: Check) -> None:
    with file.open("rb") as lines:
        for number, line in enumerate(iter(partial(lines.readline, _MAX_LINE_BYTES), b""), 1):
            if check.full:
                break
            if len(line) == _MAX_LINE_BYTES:
                check.wrong(number, f"The line is longer than {_MAX_LINE_BYTES} bytes.", code="load_json")
                break
            check.line(number, line)


def _read_rows(file: Path, check: Check) -> None:
    """Check rows with the server's own reader, in a process of its own, because its library is large."""
    argv = worker_argv(f"rows.{_TYPES[file.suffix]}")
    with file.open("rb") as source, subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            check.row(msgspec.json.decode(line, type=Row))
            if check.full:
                process.kill()
                return
    if process.returncode:
        check.wrong(
            0, f"The reader of {file.name} ended: it needs more time or memory than there are for a row."
        )
