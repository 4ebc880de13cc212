"""`tutti batches`: many requests in one job. The commands are those of the 3.x client."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.files_transfer import AlreadyUploaded, receive, send
from tutti.cli.http import Api, Json, connect, part, parts
from tutti.cli.output import note, write, write_json, write_table
from tutti.cli.server import ApiError
from tutti.cli.waiting import wait_until

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Submit and manage batches of requests.")

Id = Annotated[str, typer.Argument(help="The batch's id.")]

_APIS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "audio.transcriptions": "/v1/audio/transcriptions",
    "audio.translations": "/v1/audio/translations",
}
_ENDED = ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
_COLUMNS = ("ID", "API", "Model", "Status", "Progress", "Created")


@app.command()
@app.command("create", hidden=True)
def submit(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A .jsonl file with one request per line, or the id of an uploaded one.")
    ],
    api: Annotated[str, typer.Argument(help=f"The API to call: {', '.join(_APIS)}.")],
    model: Annotated[str | None, typer.Option(help="Model for requests that name none.")] = None,
    completion_window: Annotated[
        str | None, typer.Option(help="Time limit, such as 30m, 24h or 3d.", show_default="24h")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Batches with a higher number run first.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended. Exit status 1 unless it is COMPLETED.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Submit a batch."""
    if api not in _APIS:
        raise typer.BadParameter(f"must be one of {', '.join(_APIS)}", param_hint="API")
    with connect(context) as server:
        body = options.given(
            input_file_id=_uploaded(server, file),
            endpoint=_APIS[api],
            model_id=model,
            completion_window=completion_window,
            priority=priority,
        )
        created = server.post("batches", body)
        batch = part(created, "job")
        if created.get("warning"):
            note(str(created["warning"]))
        if wait:
            batch = _waited(server, str(batch["id"]))
    _show(batch, as_json)
    if wait and batch["status"] != "COMPLETED":
        raise typer.Exit(1)


@app.command("list")
@app.command("ls", hidden=True)
def list_(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List batches, newest first."""
    with connect(context) as server:
        answer = server.get("batches")
    batches = answer if isinstance(answer, list) else parts(answer, "data")
    if as_json:
        write_json(batches)
    else:
        write_table(_COLUMNS, map(_row, batches))


@app.command()
@app.command("get", hidden=True)
def retrieve(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Describe a batch."""
    with connect(context) as server:
        batch = server.get_one(_path(id))
    _show(batch, as_json)


@app.command()
def cancel(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Cancel a batch. Results so far are kept."""
    with connect(context) as server:
        batch = server.post(f"{_path(id)}/cancel", {})
    _show(batch, as_json)


@app.command()
def download(
    context: typer.Context,
    id: Id,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File for the results. Errors go to NAME.errors.jsonl beside it.",
            show_default="standard output, without errors",
        ),
    ] = None,
) -> None:
    """Download the results of a batch that has ended."""
    with connect(context) as server:
        batch = server.get_one(_path(id))
        if batch["status"] not in _ENDED:
            raise ApiError(f"the batch has not ended yet: it is {batch['status']}")
        results, errors = batch.get("output_file_id"), batch.get("error_file_id")
        if not results and not errors:
            raise ApiError(f"the batch is {batch['status']} and has no results")
        if results:
            receive(server, f"files/{results}/content", output)
        if errors and output is None:
            note("some requests failed: use --output FILE to get their errors, too")
        elif errors and output is not None:
            receive(server, f"files/{errors}/content", output.with_name(f"{output.stem}.errors.jsonl"))


def _uploaded(server: Api, file: str) -> str:
    if not Path(file).is_file():
        return file
    try:
        return str(send(server, Path(file), "batch-api")["id"])
    except AlreadyUploaded as known:
        return known.file_id


def _waited(server: Api, id: str) -> Json:
    note(f"submitted as {id}")
    return wait_until(
        lambda batch: batch["status"] in _ENDED,
        lambda: server.get_one(_path(id)),
        lambda batch: f"{batch['status']}, {batch.get('progress', 0):g}%",
        f"tutti batches retrieve {id}",
    )


def _show(batch: Json, as_json: bool) -> None:
    if as_json:
        write_json(batch)
    else:
        write_table(("field", "value"), batch.items())
        if batch["status"] in _ENDED and (batch.get("output_file_id") or batch.get("error_file_id")):
            write(f"\nTo get the results: tutti batches download {batch['id']} --output results.jsonl\n")


def _row(batch: Json) -> tuple[object, ...]:
    names = {endpoint: api for api, endpoint in _APIS.items()}
    return (
        batch.get("id"),
        names.get(str(batch.get("endpoint")), batch.get("endpoint")),
        batch.get("model_id"),
        batch.get("status"),
        f"{batch.get('progress', 0):g}%",
        batch.get("created_at"),
    )


def _path(id: str) -> str:
    return f"batches/{quote(id, safe='')}"
