"""Inputs that are texts or token ids: prompts, and the texts to embed or to rank."""

from typing import Any, cast

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.http.context import Family

MOST_BYTES_A_TOKEN = 256
"""The longest tokens of the usual vocabularies are rows of 128 blanks or signs."""


def texts_or_tokens(value: Any) -> str:
    """Return the tag of the union's member that a prompt or an input is validated as: OpenAI's API also takes
    token ids."""
    if not isinstance(value, list):
        return "string"
    first = cast(list[Any], value)[0] if value else None
    return "tokens" if isinstance(first, int) else "token_lists" if isinstance(first, list) else "list"


def require_openai(family: Family, name: str, given: Any) -> None:
    """Raise InvalidRequest if `given` has token ids and the client does not speak OpenAI's API.

    `given` is a prompt or an input, the value of the field `name`.
    """
    if family != "openai" and has_token_ids(given):
        raise InvalidRequest(
            f"`{name}` has token ids, which are taken at /openai/v1 only: send the text (in LangChain:"
            " check_embedding_ctx_length=False).",
            param=name,
        )


def has_token_ids(given: Any) -> bool:
    return isinstance(given, list) and not isinstance(given[0], str)  # type: ignore[reportUnknownVariableType]


def shortened(text: str, model: Model) -> str:
    """Return the beginning of `text`, without what surely lies beyond the model's context.

    For models whose engines read only as much as fits and ignore the rest.
    """
    most = (model.context_length or len(text)) * MOST_BYTES_A_TOKEN
    return text[:most]
