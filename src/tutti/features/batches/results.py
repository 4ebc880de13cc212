"""Lines of the output and error files, which the clients of both Together and OpenAI can read.

A request that succeeded has a `response` and no `error`. One that was refused has both: the answer, and the
error's code and message. One that never ran has only an `error`.
"""

from typing import Any

import msgspec

from tutti.base.ids import new_id
from tutti.features.files.jsonl import one_line
from tutti.http.inside import Answer

UNFINISHED = {
    "EXPIRED": ("batch_expired", "The completion window ended before this request could be executed."),
    "CANCELLED": ("batch_cancelled", "The batch was cancelled before this request was executed."),
    "FAILED": ("batch_failed", "The batch failed before this request was executed."),
}
"""Code and message for a line that got no answer, by the status in which its batch ended."""


class Error(msgspec.Struct, frozen=True):
    code: str | None
    message: str
    param: str | None = None


class _Response(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _Result(msgspec.Struct, frozen=True):
    id: str
    custom_id: str
    response: _Response | None
    error: Error | None


class Tokens(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


NO_TOKENS = Tokens()


class _Used(msgspec.Struct, frozen=True):
    usage: Tokens | None = None


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str = "The request failed."
    type: str | None = None
    param: str | None = None
    code: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _ErrorDetail = _ErrorDetail()


_encoder = msgspec.json.Encoder()
_used = msgspec.json.Decoder(_Used)
_refused = msgspec.json.Decoder(_ErrorBody)


def answered(custom_id: str, answer: Answer) -> bytes:
    """Return the line for a request that was answered, with its line end."""
    response = _Response(answer.status, answer.request_id, _json_of(answer))
    return _line(custom_id, response, error_of(answer) if answer.status >= 400 else None)


def unanswered(custom_id: str, error: Error) -> bytes:
    """Return the line for a request that never ran, with its line end."""
    return _line(custom_id, None, error)


def error_of(answer: Answer) -> Error:
    """Return the error that the answer holds; its status is 400 or above."""
    try:
        detail = _refused.decode(answer.body).error
    except msgspec.MsgspecError:
        detail = _ErrorDetail()
    return Error(detail.code or detail.type, detail.message, detail.param)


def tokens_of(answer: Answer) -> Tokens:
    try:
        return _used.decode(answer.body).usage or NO_TOKENS
    except msgspec.MsgspecError:
        return NO_TOKENS


def _json_of(answer: Answer) -> msgspec.Raw:
    """Return the body. One that is not JSON, such as subtitles, becomes a JSON string."""
    is_json = "json" in answer.headers.get("content-type", "application/json")
    return msgspec.Raw(answer.body if is_json else _encoder.encode(answer.body.decode(errors="replace")))


def _line(custom_id: str, response: _Response | None, error: Error | None) -> bytes:
    result: Any = _Result(new_id("batch_req"), custom_id, response, error)
    return one_line(_encoder.encode(result))
