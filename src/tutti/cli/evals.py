"""`tutti evals`: a model judges the rows of a file. The options are those of `tg evals`."""

# ruff: noqa: ARG001 - the many options of `create` are read by their names

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote

import typer

from tutti.cli import options
from tutti.cli.files_transfer import AlreadyUploaded, send
from tutti.cli.http import Api, Json, connect, part
from tutti.cli.output import note, write_json, write_table
from tutti.cli.server import ApiError
from tutti.cli.waiting import wait_until

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Let a model judge the rows of a file.")


class Type(StrEnum):
    CLASSIFY = "classify"
    SCORE = "score"
    COMPARE = "compare"


class Source(StrEnum):
    SERVERLESS = "serverless"
    DEDICATED = "dedicated"
    EXTERNAL = "external"


_COLUMNS = ("ID", "Type", "Status", "Created", "Result")
_ENDED = ("completed", "error", "user_error")
_MAX_TOKENS = 16000
"""The default of `tg evals` for a model that is evaluated."""

Id = Annotated[str, typer.Argument(help="The evaluation's id.")]
Token = Annotated[str | None, typer.Option(help="API key for an external model.")]
Url = Annotated[str | None, typer.Option(help="Base URL of an external model.")]
System = Annotated[str | None, typer.Option(help="System message for the model: a Jinja template.")]
Input = Annotated[str | None, typer.Option(help="User message for the model: a Jinja template.")]
Where = Annotated[Source | None, typer.Option(help="Where the model runs.", show_default="serverless")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Maximum number of tokens to generate.")]
Temperature = Annotated[float | None, typer.Option(min=0, max=2, help="Sampling temperature.")]


@app.command()
def create(
    context: typer.Context,
    type_: Annotated[Type, typer.Option("--type", help="Kind of judgement.")],
    judge_model: Annotated[str, typer.Option(help="The model that judges.")],
    judge_system_template: Annotated[str, typer.Option(help="Instructions for the judge: a Jinja template.")],
    input_data_file_path: Annotated[
        str, typer.Option(help="A local file, which is uploaded, or the id of an uploaded one.")
    ],
    judge_model_source: Annotated[Source, typer.Option(help="Where the judge runs.")] = Source.SERVERLESS,
    judge_external_api_token: Token = None,
    judge_external_base_url: Url = None,
    judge_num_workers: Annotated[
        int | None, typer.Option(min=1, help="Requests to the judge at a time.")
    ] = None,
    judge_max_tokens: Tokens = None,
    judge_temperature: Temperature = None,
    labels: Annotated[str | None, typer.Option(help="For classify: all labels, comma-separated.")] = None,
    pass_labels: Annotated[
        str | None, typer.Option(help="For classify: the labels that pass, comma-separated.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="For score: the lowest score.")] = None,
    max_score: Annotated[float | None, typer.Option(help="For score: the highest score.")] = None,
    pass_threshold: Annotated[
        float | None, typer.Option(help="For score: the lowest score that passes.")
    ] = None,
    disable_position_bias_correction: Annotated[
        bool, typer.Option("--disable-position-bias-correction", help="For compare: ask in one order only.")
    ] = False,
    model_field: Annotated[
        str | None, typer.Option(help="Field of the data with the responses to judge.")
    ] = None,
    model_to_evaluate: Annotated[
        str | None, typer.Option(help="Model that writes the responses, instead of a field.")
    ] = None,
    model_to_evaluate_source: Where = None,
    model_to_evaluate_external_api_token: Token = None,
    model_to_evaluate_external_base_url: Url = None,
    model_to_evaluate_max_tokens: Tokens = None,
    model_to_evaluate_temperature: Temperature = None,
    model_to_evaluate_system_template: System = None,
    model_to_evaluate_input_template: Input = None,
    model_a_field: Annotated[
        str | None, typer.Option(help="For compare: field of the data with response A.")
    ] = None,
    model_a: Annotated[
        str | None, typer.Option(help="For compare: model that writes response A, instead of a field.")
    ] = None,
    model_a_source: Where = None,
    model_a_external_api_token: Token = None,
    model_a_external_base_url: Url = None,
    model_a_max_tokens: Tokens = None,
    model_a_temperature: Temperature = None,
    model_a_system_template: System = None,
    model_a_input_template: Input = None,
    model_b_field: Annotated[
        str | None, typer.Option(help="For compare: field of the data with response B.")
    ] = None,
    model_b: Annotated[
        str | None, typer.Option(help="For compare: model that writes response B, instead of a field.")
    ] = None,
    model_b_source: Where = None,
    model_b_external_api_token: Token = None,
    model_b_external_base_url: Url = None,
    model_b_max_tokens: Tokens = None,
    model_b_temperature: Temperature = None,
    model_b_system_template: System = None,
    model_b_input_template: Input = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended, then show its results.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Start an evaluation."""
    parameters = _parameters(type_, context.params)
    with connect(context) as api:
        parameters["input_data_file_path"] = _file_id(api, input_data_file_path)
        created = api.post("evaluation", {"type": type_.value, "parameters": parameters})
        found = _waited(api, str(created["workflow_id"])) if wait else None
    if found is not None:
        _show_status(found, as_json)
        raise typer.Exit(0 if found["status"] == "completed" else 1)
    if as_json:
        write_json(created)
    else:
        typer.echo(created["workflow_id"])
        note(f"`tutti evals status {created['workflow_id']}` shows its progress")


@app.command("list")
def list_(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="Only evaluations with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of evaluations to list.")] = 10,
    as_json: options.AsJson = False,
) -> None:
    """List evaluations, newest first."""
    with connect(context) as api:
        found = api.get("evaluation", status=status, limit=str(limit))
    jobs = found if isinstance(found, list) else []
    if as_json:
        write_json(jobs)
    else:
        write_table(_COLUMNS, map(_row, jobs))


@app.command()
def retrieve(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Describe an evaluation, with its results."""
    with connect(context) as api:
        job = api.get_one(_path(id))
    if as_json:
        write_json(job)
    else:
        write_table(("field", "value"), [(name, _brief(value)) for name, value in job.items()])


@app.command()
def status(context: typer.Context, id: Id, as_json: options.AsJson = False) -> None:
    """Show the progress of an evaluation, and its results."""
    with connect(context) as api:
        found = api.get_one(_path(id) + "/status")
    _show_status(found, as_json)


def _waited(api: Api, id: str) -> Json:
    note(f"created as {id}")
    return wait_until(
        lambda found: found["status"] in _ENDED,
        lambda: api.get_one(_path(id) + "/status"),
        lambda found: str(found["status"]),
        f"tutti evals status {id}",
    )


def _show_status(found: Json, as_json: bool) -> None:
    if as_json:
        write_json(found)
    else:
        results = [item for item in part(found, "results").items() if item[1] is not None]
        write_table(("field", "value"), [("status", found["status"]), *((k, _brief(v)) for k, v in results)])


def _parameters(type_: Type, given: Mapping[str, Any]) -> Json:
    judge = options.given(
        model=given["judge_model"],
        model_source=given["judge_model_source"].value,
        system_template=given["judge_system_template"],
        external_api_token=given["judge_external_api_token"],
        external_base_url=given["judge_external_base_url"],
        num_workers=given["judge_num_workers"],
        max_tokens=given["judge_max_tokens"],
        temperature=given["judge_temperature"],
    )
    return {"judge": judge, **_of_type(type_, given)}


def _of_type(type_: Type, given: Mapping[str, Any]) -> Json:
    if type_ is Type.COMPARE:
        once = given["disable_position_bias_correction"]
        a, b = _subject(given, "model_a", "model_a_field"), _subject(given, "model_b", "model_b_field")
        return options.given(model_a=a, model_b=b, disable_position_bias_correction=once)
    names = ("min_score", "max_score", "pass_threshold") if type_ is Type.SCORE else ()
    chosen = {name: given[name] for name in names}
    if type_ is Type.CLASSIFY:
        chosen = {name: _list(given[name]) for name in ("labels", "pass_labels")}
    subject = _subject(given, "model_to_evaluate", "model_field")
    return options.given(**chosen, model_to_evaluate=subject)


def _subject(given: Mapping[str, Any], name: str, field: str) -> Json | str | None:
    """Return a model with its settings, the name of the field that has its responses, or None."""
    settings: Json = {
        key.removeprefix(f"{name}_"): value
        for key, value in given.items()
        if key.startswith(f"{name}_") and key != field and value is not None
    }
    flag = "--" + name.replace("_", "-")
    if given[field] is not None:
        if settings or given[name] is not None:
            raise typer.BadParameter("give either a field or a model, not both", param_hint=flag)
        return cast(str, given[field])
    if given[name] is None and settings:
        raise typer.BadParameter("name the model", param_hint=flag)
    if given[name] is None:
        return None
    source = settings.pop("source", Source.SERVERLESS)
    defaults = {"max_tokens": _MAX_TOKENS, "temperature": 0.0, "system_template": ""}
    return {**defaults, **settings, "model": given[name], "model_source": source.value}


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [label.strip() for label in text.split(",")]


def _file_id(api: Api, given: str) -> str:
    path = Path(given)
    if not path.is_file():
        return given
    try:
        return str(send(api, path, "eval")["id"])
    except AlreadyUploaded as known:
        return known.file_id


def _path(id: str) -> str:
    if not id:
        raise ApiError("the id is empty")
    return f"evaluation/{quote(id, safe='')}"


def _row(job: Json) -> tuple[object, ...]:
    created = str(job.get("created_at"))[:16].replace("T", " ")
    return job["workflow_id"], job.get("type"), job.get("status"), created, _result(part(job, "results"))


def _result(results: Json) -> str:
    if "A_wins" in results:
        return f"A {results['A_wins']}, B {results['B_wins']}, ties {results['Ties']}"
    scores = part(results, "aggregated_scores")
    if scores:
        return f"mean {scores['mean_score']:.4g}, {scores['pass_percentage']}% pass"
    if "pass_percentage" in results:
        return f"{results['pass_percentage']}% pass"
    return str(results.get("error", ""))


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
