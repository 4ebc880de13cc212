"""The headers of a form's part: its name, its filename, its length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value

from tutti.base.errors import InvalidRequest

_PLAIN = ("", "binary", "8bit", "7bit")


@dataclass(frozen=True)
class Part:
    """A part. `filename` is None for a field. `length` is the number of bytes that it announces, if it
    does."""

    name: str
    filename: str | None
    length: int | None


def part_of(headers: Mapping[str, str]) -> Part:
    """Return the part that the headers describe; their names are in lower case. Raise InvalidRequest if they
    name no part, or only a piece of one."""
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "")
    found = message.get_params([], "content-disposition")
    name = _value(found, "name")
    if name is None:
        raise InvalidRequest("A part of the form has no name.")
    _check_whole(headers, name)
    length = headers.get("content-length", "").strip()
    return Part(name, _value(found, "filename"), int(length) if _is_number(length) else None)


def _value(params: Sequence[tuple[str, str | tuple[str, str, str]]], name: str) -> str | None:
    """Return the value of `name*` (RFC 5987), or else that of `name`, which is for servers that can't read
    it."""
    values = [value for key, value in params if key.lower() == name]
    extended = [value for value in values if isinstance(value, tuple)]
    if not values:
        return None
    value = (extended or values)[0]
    return collapse_rfc2231_value(value) if isinstance(value, tuple) else _decoded(value)


def _decoded(value: str) -> str:
    """Read an encoded word (RFC 2047), which .NET makes of names that are not ASCII."""
    if not (value.startswith("=?") and value.endswith("?=")):
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value


def _check_whole(headers: Mapping[str, str], name: str) -> None:
    if "content-range" in headers:
        raise InvalidRequest(f"The part `{name}` is a range of something: send all of it.", param=name)
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding not in _PLAIN:
        raise InvalidRequest(f"The part `{name}` is {encoding[:40]}: send it as it is.", param=name)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
