"""Inputs that are texts or token ids: prompts, and what is embedded or ranked."""

from typing import Any, cast

from fastapi import Request

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.http.context import family

MOST_BYTES_A_TOKEN = 256
"""The longest tokens of the usual vocabularies are rows of 128 blanks or signs."""


def texts_or_tokens(value: Any) -> str:
    """Return the tag of the union's member that a prompt or an input is meant for. OpenAI's clients may also
    send token ids."""
    if not isinstance(value, list):
        return "string"
    first = cast(list[Any], value)[0] if value else None
    return "tokens" if isinstance(first, int) else "token_lists" if isinstance(first, list) else "list"


def require_openai(request: Request, name: str, given: Any) -> None:
    """Raise InvalidRequest if the field `name` has token ids and the client isn't one of OpenAI's."""
    if family(request) != "openai" and has_token_ids(given):
        raise InvalidRequest(
            f"`{name}` has token ids, which are taken at /openai/v1 only: send the text (in LangChain:"
            " check_embedding_ctx_length=False).",
            param=name,
        )


def has_token_ids(given: Any) -> bool:
    return isinstance(given, list) and not isinstance(given[0], str)  # type: ignore[reportUnknownVariableType]


def shortened(text: str, model: Model) -> str:
    """Return the beginning of the text, without what is surely longer than the model's context."""
    most = (model.context_length or len(text)) * MOST_BYTES_A_TOKEN
    return text[:most]
