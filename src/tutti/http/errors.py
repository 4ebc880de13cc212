"""The error body of the API, for any exception raised while a request is served."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tutti.base.errors import (
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TuttiError,
    Unavailable,
)
from tutti.http.validation import invalid_request
from tutti.store.outage import is_database_outage

log = logging.getLogger(__name__)


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorData(BaseModel):
    error: ErrorDetail


def from_exception(exc: BaseException) -> TuttiError:
    """Return the error that the client gets. Unforeseen exceptions are logged; the client learns no detail of
    them."""
    if isinstance(exc, TuttiError):
        return exc
    if isinstance(exc, RequestValidationError):
        return invalid_request(exc.errors(), exc.body)
    if isinstance(exc, HTTPException):
        return _from_http(exc)
    if isinstance(exc, OSError) or is_database_outage(exc):  # asyncpg raises an OSError
        log.warning("the database does not answer", extra={"cause": str(exc)})
        return Unavailable("The database does not answer; try again.", retry_after_s=1)
    log.error("unexpected error", exc_info=exc)
    return InternalError("The server failed unexpectedly. The log has the details under this x-request-id.")


def error_response(error: TuttiError, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(error.body()),
        status_code=error.status,
        headers={**error.headers(), **(headers or {})},
        media_type="application/json",
    )


async def handle(_request: Request, exc: Exception) -> Response:
    """Answer with the error. FastAPI's exception handler for everything."""
    headers = exc.headers if isinstance(exc, HTTPException) else None
    return error_response(from_exception(exc), headers)


def sse_error(error: TuttiError) -> bytes:
    """Return the error as the last events of a stream that has already begun."""
    return b"data: " + msgspec.json.encode(error.body()) + b"\n\ndata: [DONE]\n\n"


def _from_http(exc: HTTPException) -> TuttiError:
    if exc.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(exc.detail)
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(exc.detail)
    if exc.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge(exc.detail)
    if exc.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest(exc.detail)
    return InternalError(exc.detail)
