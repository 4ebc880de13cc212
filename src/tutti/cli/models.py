"""`tutti models`: what a server has."""

from typing import Annotated
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.http import Json, connect, part
from tutti.cli.output import write_json, write_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List and describe models.")

_COLUMNS = ("ID", "Name", "Organization", "Type", "Context", "License", "$/1M in", "$/1M out")


@app.command("list")
def list_(
    context: typer.Context,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="Only models of this type (chat, embedding, ...), or `dedicated`."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the server's models."""
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


def _row(model: Json) -> tuple[object, ...]:
    pricing = part(model, "pricing")
    return (
        model["id"],
        model.get("display_name"),
        model.get("organization") or model.get("owned_by"),
        model.get("type"),
        model.get("context_length"),
        model.get("license"),
        pricing.get("input"),
        pricing.get("output"),
    )
