"""`tutti files`: the files on a server. The commands are those of the 3.x client."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.files_check import check, look, tell_wrong
from tutti.cli.files_transfer import AlreadyUploaded, receive, send
from tutti.cli.http import Api, Json, connect, part, parts
from tutti.cli.output import note, write, write_json, write_table
from tutti.cli.server import ApiError
from tutti.features.files.checks.file import is_checked

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check, upload and download files.")
app.command("check")(check)

Id = Annotated[str, typer.Argument(help="The file's id.")]

_COLUMNS = ("ID", "File name", "Purpose", "Bytes", "Status", "Created")


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A .jsonl, .csv or .parquet file.", exists=True, dir_okay=False)
    ],
    purpose: Annotated[str, typer.Option(help="fine-tune, eval or batch-api.")] = "fine-tune",
    do_check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the file for mistakes first.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Upload a file."""
    if do_check and is_checked(purpose):
        _checked(file, purpose)
    with connect(context) as api:
        try:
            sent = send(api, file, purpose)
        except AlreadyUploaded as known:
            sent = api.get_one(_path(known.file_id))
            note("the server has this file already")
    if as_json:
        write_json(sent)
    else:
        write(f"{sent['id']}\n")


@app.command("list")
def list_(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List files, newest first."""
    with connect(context) as api:
        files = parts(api.get_one("files"), "data")
    if as_json:
        write_json(files)
    else:
        write_table(_COLUMNS, map(_row, files))


@app.command()
def retrieve(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Describe a file."""
    with connect(context) as api:
        file = api.get_one(_path(id))
    if as_json:
        write_json(file)
    else:
        write_table(("field", "value"), _described(file))


@app.command()
def retrieve_content(
    context: typer.Context,
    id: Id,
    output: Annotated[
        Path | None,
        typer.Option(help="File or folder to write to.", show_default="the file's name on the server"),
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Write the content to standard output.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Download a file."""
    if stdout and output is not None:
        raise typer.BadParameter("cannot be used together with --output", param_hint="--stdout")
    with connect(context) as api:
        if stdout:
            receive(api, f"{_path(id)}/content", None)
            return
        target = _target(api, id, output)
        receive(api, f"{_path(id)}/content", target)
    if as_json:
        write_json({"id": id, "path": str(target)})
    else:
        write(f"{target}\n")


@app.command()
def delete(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Delete a file."""
    with connect(context) as api:
        answer = api.delete(_path(id))
    if as_json:
        write_json(answer)
    else:
        write(f"{id} is deleted\n")


def _checked(file: Path, purpose: str) -> None:
    report = look(file, purpose)
    if not report.sound:
        tell_wrong(report)
        note("not uploaded: correct the file, or upload it as it is with --no-check")
        raise typer.Exit(1)


def _path(id: str) -> str:
    return f"files/{quote(id, safe='')}"


def _target(api: Api, id: str, output: Path | None) -> Path:
    """Choose the file to write to. A name from the server is used as a plain file name, and never replaces a
    file."""
    if output is not None and not output.is_dir() and (output.exists() or output.suffix):
        return output
    name = Path(str(api.get_one(_path(id)).get("filename", "")).replace("\\", "/")).name
    target = (output or Path()) / (name or id)
    if target.exists():
        raise ApiError(f"{target} exists already: choose another name with --output")
    return target


def _row(file: Json) -> tuple[object, ...]:
    names = ("id", "filename", "purpose", "bytes", "processing_status")
    return (*(file.get(name) for name in names), _time(file.get("created_at")))


def _described(file: Json) -> Iterator[tuple[str, object]]:
    """Yield the rows of a file's description. Each error that its check found has a row of its own."""
    report = part(file, "validation_report")
    for name, value in file.items():
        if name in ("created_at", "expires_at"):
            yield name, _time(value)
        elif name not in ("object", "validation_report"):
            yield name, _plain(value)
    yield from ((name, _plain(report[name])) for name in report if name not in ("file_id", "errors"))
    for error in parts(report, "errors"):
        yield f"line {error.get('line')}", error.get("message")


def _plain(value: Any) -> object:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _time(seconds: Any) -> object:
    if not isinstance(seconds, int):
        return seconds
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
