"""Values that OpenAI's API takes and Together's does not: a client that speaks Together's gets a 400."""

from tutti.base.errors import InvalidRequest
from tutti.features.inputs import has_token_ids, require_openai
from tutti.features.text.schemas import CompletionRequest
from tutti.http.context import Family

_TOGETHERS_EFFORTS = (None, "low", "medium", "high")


def require_known_effort(family: Family, effort: str | None) -> None:
    if family != "openai" and effort not in _TOGETHERS_EFFORTS:
        raise InvalidRequest(
            "`reasoning_effort` should be 'low', 'medium' or 'high':"
            " other values are taken at /openai/v1 only.",
            param="reasoning_effort",
        )


def require_known_prompt(family: Family, body: CompletionRequest) -> None:
    """Raise InvalidRequest for token ids where the API, or the safety model, reads only texts."""
    require_openai(family, "prompt", body.prompt)
    if body.safety_model is not None and has_token_ids(body.prompt):
        raise InvalidRequest(
            "A safety model reads texts: send the text in place of token ids, or leave `safety_model` out.",
            param="prompt",
        )
