"""What OpenAI's API takes and Together's does not: where a client speaks Together's, a 400 says so."""

from fastapi import Request

from tutti.base.errors import InvalidRequest
from tutti.features.inputs import has_token_ids
from tutti.features.text.schemas import CompletionRequest
from tutti.http.context import family

_TOGETHERS_EFFORTS = (None, "low", "medium", "high")


def require_known_effort(request: Request, effort: str | None) -> None:
    if family(request) != "openai" and effort not in _TOGETHERS_EFFORTS:
        raise InvalidRequest(
            "`reasoning_effort` should be 'low', 'medium' or 'high':"
            " other values are taken at /openai/v1 only.",
            param="reasoning_effort",
        )


def require_text_prompts(body: CompletionRequest) -> None:
    if body.safety_model is not None and has_token_ids(body.prompt):
        raise InvalidRequest(
            "A safety model reads texts: send the text in place of token ids, or leave `safety_model` out.",
            param="prompt",
        )
