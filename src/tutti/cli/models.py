"""`tutti models`: the models of a server, and uploads of new ones."""

import time
from typing import Annotated
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.http import Api, Json, connect, part, parts
from tutti.cli.output import note, write_json, write_table
from tutti.cli.server import ApiError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, describe and upload models.")

_POLL_S = 0.5
_UPDATE = ("timestamp", "status", "message")
_COLUMNS = ("ID", "Status", "Type", "Context")


@app.command("list")
def list_(
    context: typer.Context,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="Only models of this type (chat, embedding, ...), or `dedicated`."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the models of the server, and which are loaded or downloaded. --json shows all fields."""
    with connect(context) as api:
        models = options.list_models(api, dedicated="true" if type_ == "dedicated" else None)
    shown = [model for model in models if type_ in (None, "dedicated", model.get("type"))]
    if as_json:
        write_json(shown)
    else:
        write_table(_COLUMNS, map(_row, shown))


@app.command()
def retrieve(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model's name.")],
    as_json: options.AsJson = False,
) -> None:
    """Describe one model."""
    with connect(context) as api:
        model = api.get_one(f"models/{quote(name, safe='')}")
    if as_json:
        write_json(model)
    else:
        write_table(("field", "value"), [item for item in model.items() if item[0] != "object"])


@app.command()
def upload(
    context: typer.Context,
    model_name: Annotated[str, typer.Option(help="Name of the new model.")],
    model_source: Annotated[
        str,
        typer.Option(
            help="owner/repo or owner/repo@revision on Hugging Face, or the URL of a .gguf file or archive "
            "(such as a presigned S3 URL)."
        ),
    ],
    model_type: Annotated[str, typer.Option(help="model or adapter.")] = "model",
    hf_token: Annotated[str | None, typer.Option(envvar="HF_TOKEN", help="Hugging Face token.")] = None,
    description: Annotated[str | None, typer.Option(help="A description of the model.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Base model of an adapter.")] = None,
    lora_model: Annotated[str | None, typer.Option(help="Same as --base-model.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it can be used.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Upload a model or a LoRA adapter from Hugging Face or S3."""
    body = options.given(
        model_name=model_name,
        model_source=model_source,
        model_type=model_type,
        hf_token=hf_token,
        description=description,
        base_model=base_model,
        lora_model=lora_model,
    )
    with connect(context) as api:
        answer = api.post("models", body)
        if wait:
            _wait(api, str(part(answer, "data").get("job_id")))
    if as_json:
        write_json(answer)
    else:
        write_table(("field", "value"), [*part(answer, "data").items(), ("message", answer.get("message"))])


@app.command()
def status(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(help="The id of the upload's job.")],
    as_json: options.AsJson = False,
) -> None:
    """Show the progress of an upload."""
    with connect(context) as api:
        job = api.get_one(f"jobs/{quote(job_id, safe='')}")
    if as_json:
        write_json(job)
    else:
        updates = parts(job, "status_updates")
        write_table(("time", "status", "message"), [tuple(map(it.get, _UPDATE)) for it in updates])


def _wait(api: Api, job_id: str) -> None:
    """Print each status update until the upload is complete. Raise ApiError if it fails. Ctrl-C ends only the
    waiting."""
    printed = 0
    try:
        while True:
            job = api.get_one(f"jobs/{job_id}")
            updates = parts(job, "status_updates")
            for update in updates[printed:]:
                note(str(update.get("message")))
            printed = len(updates)
            if job.get("status") == "Failed":
                raise ApiError(f"{job_id} failed")
            if job.get("status") == "Complete":
                return
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        note(f"the upload goes on: `tutti models status {job_id}` shows its progress")
        raise typer.Exit(130) from None


def _row(model: Json) -> tuple[object, ...]:
    return model["id"], model.get("status"), model.get("type"), model.get("context_length")
