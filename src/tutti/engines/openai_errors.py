"""Refusals of OpenAI-compatible servers, translated for our clients."""

import re

import msgspec

from tutti.base.errors import (
    ContextTooLong,
    EngineTimeout,
    InternalError,
    InvalidRequest,
    RateLimited,
    TooLarge,
    TuttiError,
    Unavailable,
)
from tutti.engines.upstream import Refusal

_TOO_LONG = re.compile(
    r"context.?length|maximum model length|max_model_len|context window|context size", re.I
)


class ErrorBody(msgspec.Struct):
    """The error in an answer. `code` is a word at OpenAI and an HTTP status at vLLM."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Wrapped(msgspec.Struct):
    error: ErrorBody | str


def error_of(refusal: Refusal) -> TuttiError:
    return _error(refusal.status, _decoded(refusal.body))


def error_in_stream(error: ErrorBody | str) -> TuttiError:
    """Translate an `error` that came in the middle of a stream; without a status of its own it is the
    server's."""
    body = _body(error)
    status = body.code if isinstance(body.code, int) else 400 if "invalid" in (body.type or "") else 503
    return _error(status, body)


def _decoded(data: bytes) -> ErrorBody:
    try:
        return _body(msgspec.json.decode(data, type=_Wrapped).error)
    except msgspec.DecodeError:
        return ErrorBody()


def _body(error: ErrorBody | str) -> ErrorBody:
    return ErrorBody(error) if isinstance(error, str) else error


def _error(status: int, body: ErrorBody) -> TuttiError:
    """Translate an error. Messages about the request itself are passed on; others are not, since they could
    tell where the server runs."""
    if status in (400, 422):
        message = body.message or "The model's engine did not accept the request."
        if body.code == "context_length_exceeded" or _TOO_LONG.search(message):
            return ContextTooLong(message)
        return InvalidRequest(
            message, param=body.param, code=body.code if isinstance(body.code, str) else None
        )
    if status in (401, 403, 404, 405):
        return InternalError(f"The model's engine refused the server's request ({status}): check its entry.")
    if status == 413:
        return TooLarge("The request is too large for the model's engine.")
    if status == 429:
        return RateLimited("The model's engine is busy.", retry_after_s=1)
    if status in (408, 504):
        return EngineTimeout("The model's engine took too long.")
    if status in (500, 501):
        return InternalError("The model's engine failed on this request.")
    return Unavailable("The model's engine is not available.", retry_after_s=2)
