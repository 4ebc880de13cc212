"""Reads a line of a batch's input file.

`{"custom_id": "a", "body": {...}}` as Together has it, with `"method": "POST", "url": "/v1/..."` besides as
OpenAI has it; other members are ignored.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from tutti.features.files.checks.batch import LONGEST_ID


class InvalidLine(Exception):
    """A line that is no request. `message` is for the client; `param` is the member that is wrong, if any."""

    def __init__(self, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


@dataclass(frozen=True)
class Line:
    """A request. `body` is a JSON object as it stands in the file; `model` is empty if the body names
    none."""

    custom_id: str
    body: bytes
    model: str
    streams: bool

    def body_for(self, model: str) -> bytes:
        """Return the body with `model` added, unless it names a model itself."""
        if self.model or not model:
            return self.body
        rest = self.body[1:].lstrip()
        comma = b"" if rest.startswith(b"}") else b","
        return b'{"model":' + msgspec.json.encode(model) + comma + rest


class _Members(msgspec.Struct):
    custom_id: Any = None
    method: Any = None
    url: Any = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None


_members = msgspec.json.Decoder(_Members)
_body = msgspec.json.Decoder(_Body)


def read_line(data: bytes, endpoint: str) -> Line:
    """Return the request that the line holds. Raise InvalidLine if it holds none for this endpoint."""
    members = _object(_members, data, "The line", None)
    if not isinstance(members.custom_id, str) or not 0 < len(members.custom_id) <= LONGEST_ID:
        message = f"custom_id must be a string of 1 to {LONGEST_ID} characters."
        raise InvalidLine(message, "invalid_custom_id", "custom_id")
    if members.method not in (None, "POST"):
        raise InvalidLine("method must be POST.", "invalid_method", "method")
    if members.url not in (None, endpoint):
        raise InvalidLine(f"url must be {endpoint}, the endpoint of the batch.", "invalid_url", "url")
    raw = bytes(members.body).strip()
    if raw == b"null":
        raise InvalidLine("The request is missing: body must be an object.", "missing_body", "body")
    body = _object(_body, raw, "body", "body")
    return Line(
        custom_id=members.custom_id,
        body=raw,
        model=body.model if isinstance(body.model, str) else "",
        streams=body.stream is True,
    )


def _object(decoder: msgspec.json.Decoder[Any], data: bytes, what: str, param: str | None) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The message of a ValidationError ends in the name of our own struct: it is of no use to clients.
        is_json = isinstance(error, msgspec.ValidationError)
        why = "it must be a JSON object" if is_json else f"it is not valid JSON: {error}"
        raise InvalidLine(f"{what} cannot be read: {why}.", "invalid_json", param) from None
