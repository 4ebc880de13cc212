"""`tutti tci`: run Python code in a session of the server's code interpreter."""

import base64
import binascii
import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.http import Json, connect, part, parts
from tutti.cli.output import note, write, write_json, write_table
from tutti.cli.server import ApiError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Run Python code in a sandbox.")

_COLUMNS = ("ID", "Executions", "Started", "Expires")
_IMAGES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
}
_TEXT = ("image/svg+xml",)
"""Images that are text, not base64."""


@app.command()
def run(
    context: typer.Context,
    file: Annotated[typer.FileText, typer.Argument(help="A Python file, or - for standard input.")],
    session: Annotated[str | None, typer.Option(help="Session to run in.", show_default="a new one")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="File to copy into the session. Can be repeated."),
    ] = None,
    save_dir: Annotated[
        Path | None, typer.Option(help="Folder for images.", show_default="images are not saved")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Run a file's code, and print its output. The session's id is printed to stderr. The exit status is 1 if
    the code raised an error."""
    body = options.given(
        language="python", session_id=session, files=[_file(path) for path in files or ()]
    ) | {"code": file.read()}
    with connect(context) as api:
        answer = api.post("tci/execute", body)
    if as_json:
        write_json(answer)
    if answer.get("errors"):
        raise ApiError("; ".join(_text(it) for it in answer["errors"]))
    done = part(answer, "data")
    outputs = parts(done, "outputs")
    if not as_json:
        numbers = count(1)
        for output in outputs:
            _show(output, save_dir, numbers)
        note(f"session {done.get('session_id')}")
    if any(output.get("type") == "error" for output in outputs):
        raise typer.Exit(1)


@app.command()
def sessions(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the live sessions."""
    with connect(context) as api:
        found = parts(part(api.get_one("tci/sessions"), "data"), "sessions")
    if as_json:
        write_json(found)
        return
    rows = [(it["id"], it["execute_count"], _time(it["started_at"]), _time(it["expires_at"])) for it in found]
    write_table(_COLUMNS, rows)


@app.command()
def end(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The session's id.")],
    as_json: options.AsJson = False,
) -> None:
    """End a session, with the code that runs in it."""
    with connect(context) as api:
        answer = api.delete(f"tci/sessions/{quote(id, safe='')}")
    if as_json:
        write_json(answer)
    else:
        write(f"{id} is ended\n")


# --- what is sent -------------------------------------------------------------------------------------------


def _file(path: Path) -> Json:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ApiError(f"{path}: {error.strerror}") from None
    return {"name": path.name, "encoding": "base64", "content": base64.b64encode(content).decode()}


# --- what is shown ------------------------------------------------------------------------------------------


def _show(output: Json, save_dir: Path | None, numbers: Iterator[int]) -> None:
    data = output.get("data")
    if isinstance(data, dict):
        _show_bundle(cast(Json, data), save_dir, numbers)
    elif output.get("type") == "stdout":
        write(_text(data))
    else:
        sys.stderr.write(_text(data).rstrip("\n") + "\n")
        sys.stderr.flush()


def _show_bundle(bundle: Json, save_dir: Path | None, numbers: Iterator[int]) -> None:
    """Print an output's text, and save its images as files."""
    if bundle.get("text/plain"):
        write(_text(bundle["text/plain"]) + "\n")
    for kind, ending in _IMAGES.items():
        if save_dir is None or not bundle.get(kind):
            continue
        save_dir.mkdir(parents=True, exist_ok=True)
        with _new_file(save_dir, ending, numbers) as file:
            file.write(_image(kind, _text(bundle[kind])))
        note(f"saved {file.name}")


def _new_file(folder: Path, ending: str, numbers: Iterator[int]) -> BinaryIO:
    """Open a new file. Existing ones are kept, since they may be images of an earlier run."""
    while True:
        try:
            return (folder / f"output-{next(numbers)}.{ending}").open("xb")
        except FileExistsError:
            continue


def _image(kind: str, text: str) -> bytes:
    if kind in _TEXT:
        return text.encode()
    try:
        return base64.b64decode(text)
    except binascii.Error:
        raise ApiError(f"the server sent {kind} that is not base64") from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _time(text: str) -> str:
    return text[:19].replace("T", " ")
