"""Options that several commands share. Names and meanings are those of the API's fields."""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from tutti.cli.http import Api, Json, parts
from tutti.cli.server import ApiError

Model = Annotated[
    str | None, typer.Option(help="Model name.", show_default="the server's first suitable model")
]
MaxTokens = Annotated[int | None, typer.Option(help="Maximum number of tokens to generate.")]
Stop = Annotated[list[str] | None, typer.Option(help="Text at which to stop. Can be repeated.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature.")]
TopP = Annotated[float | None, typer.Option(help="Nucleus sampling threshold.")]
TopK = Annotated[int | None, typer.Option(help="Sample only from the k most likely tokens.")]
MinP = Annotated[float | None, typer.Option(help="Minimum probability, relative to the most likely token.")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="Values above 1 reduce repetition.")]
PresencePenalty = Annotated[float | None, typer.Option(help="Penalty for tokens that were used before.")]
FrequencyPenalty = Annotated[
    float | None, typer.Option(help="Penalty for tokens by how often they were used.")
]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same text.")]
N = Annotated[int | None, typer.Option("--n", help="Number of answers.")]
Logprobs = Annotated[
    int | None, typer.Option(help="Log probabilities of the k most likely tokens. --raw shows them.")
]
Echo = Annotated[bool, typer.Option("--echo", help="Return the prompt, too. --raw shows it.")]
SafetyModel = Annotated[str | None, typer.Option(help="Model that moderates prompt and answer.")]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Print the answer only when it is complete.")]
Raw = Annotated[bool, typer.Option("--raw", "--json", help="Print the server's JSON, one line per chunk.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that were given, so that the server's defaults hold for the others."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value is not False and value != []
    }


def response_format(text: str | None) -> Mapping[str, Any] | None:
    """Parse a response format: a type such as `json_object`, or a whole response format as JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return None if text is None else {"type": text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--response-format") from None


def list_models(api: Api, dedicated: str | None = None) -> list[Json]:
    """List the server's models. The answer may be a bare array (Together) or a list object (OpenAI)."""
    answer = api.get("models", dedicated=dedicated)
    return answer if isinstance(answer, list) else parts(answer, "data")


def check_model(api: Api, name: str) -> None:
    """Raise ApiError for a name that the server does not know. The list is read first, because not every
    server describes a single model; a name that is not in it may be an alias."""
    if all(entry["id"] != name for entry in list_models(api)):
        api.get_one(f"models/{quote(name, safe='')}")


def chosen(api: Api, model: str | None, *types: str) -> str:
    """Return the given model, or the server's first one of these types."""
    if model is not None:
        return model
    names = [entry["id"] for entry in list_models(api) if entry.get("type", types[0]) in types]
    if not names:
        raise ApiError(f"the server has no {types[0]} model: choose a model with --model")
    return names[0]
