"""Options that several commands share, with the names and meanings of the API's fields."""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tutti.cli.http import Api, Json, parts
from tutti.cli.server import ApiError

Model = Annotated[str | None, typer.Option(help="Model name.", show_default="the server's first that fits")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens to generate.")]
Stop = Annotated[list[str] | None, typer.Option(help="Text to stop at; may be given several times.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature.")]
TopP = Annotated[float | None, typer.Option(help="Nucleus sampling threshold.")]
TopK = Annotated[int | None, typer.Option(help="Sample from the k most likely tokens.")]
MinP = Annotated[float | None, typer.Option(help="Least probability, relative to the likeliest token.")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="Above 1: repeat less.")]
PresencePenalty = Annotated[float | None, typer.Option(help="Penalty on tokens already used.")]
FrequencyPenalty = Annotated[float | None, typer.Option(help="Penalty by how often a token was used.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same text.")]
N = Annotated[int | None, typer.Option("--n", help="How many answers.")]
Logprobs = Annotated[int | None, typer.Option(help="Log probabilities of the k likeliest; shown by --raw.")]
Echo = Annotated[bool, typer.Option("--echo", help="Return the prompt too; shown by --raw.")]
SafetyModel = Annotated[str | None, typer.Option(help="Moderation model for prompt and answer.")]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is complete.")]
Raw = Annotated[bool, typer.Option("--raw", "--json", help="Print the server's JSON, a line for each chunk.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(**fields: Any) -> dict[str, Any]:
    """Only the fields that were asked for, so that the server's defaults hold for the others."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value is not False and value != []
    }


def response_format(text: str | None) -> Mapping[str, Any] | None:
    """`json_object`, or a whole response format as JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return None if text is None else {"type": text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--response-format") from None


def list_models(api: Api, dedicated: str | None = None) -> list[Json]:
    """Of a bare array (Together) or a list object (OpenAI)."""
    answer = api.get("models", dedicated=dedicated)
    return answer if isinstance(answer, list) else parts(answer, "data")


def check_model(api: Api, name: str) -> None:
    """Raises ApiError for a name that the server does not know. Aliases are not listed, and not every server
    describes a single model."""
    if all(entry["id"] != name for entry in list_models(api)):
        api.get_one(f"models/{quote(name, safe='')}")


def chosen(api: Api, model: str | None, *types: str) -> str:
    """The model asked for, or the first of the server's that is of one of the types."""
    if model is not None:
        return model
    names = [entry["id"] for entry in list_models(api) if entry.get("type", types[0]) in types]
    if not names:
        raise ApiError(f"the server has no {types[0]} model: name one with --model")
    return names[0]
