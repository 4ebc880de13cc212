"""`tutti usage`: the usage of the key's project."""

from typing import Annotated

import typer

from tutti.cli import options
from tutti.cli.http import Json, connect, parts
from tutti.cli.output import write_json, write_table

_COLUMNS = ("requests", "failed", "prompt tokens", "completion tokens", "latency ms", "first token ms", "$")


def usage(
    context: typer.Context,
    month: Annotated[
        str | None, typer.Option(help="Month, as YYYY-MM.", show_default="the current one")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    group_by: Annotated[
        str, typer.Option(help="model, key or operation, or several, comma-separated.")
    ] = "model",
    hourly: Annotated[bool, typer.Option("--hourly", help="Group by hour instead of by day (UTC).")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the requests, tokens, latency and cost of the key's project."""
    with connect(context) as api:
        report = api.get_one(
            "billing/usage",
            month=month,
            model=model,
            group_by=group_by,
            granularity="hour" if hourly else "day",
        )
    if as_json:
        write_json(report)
        return
    groups = group_by.split(",")
    rows = [_row(window, used, groups) for window in parts(report, "data") for used in parts(window, "usage")]
    write_table(("from", *groups, *_COLUMNS), rows)


def _row(window: Json, used: Json, groups: list[str]) -> list[object]:
    names = [used.get("key_id" if group == "key" else group) for group in groups]
    first = used["mean_first_token_ms"]
    return [
        str(window["start_time"])[:16].replace("T", " "),
        *names,
        used["requests"],
        used["failed_requests"],
        used["prompt_tokens"],
        used["completion_tokens"],
        f"{used['mean_latency_ms']:.0f}",
        "" if first is None else f"{first:.0f}",
        used["cost"],
    ]
