"""Reads the query of a WebSocket."""

import re
from collections.abc import Mapping
from typing import TypeVar, get_type_hints

import msgspec

from tutti.base.errors import InvalidRequest

_T = TypeVar("_T", bound=msgspec.Struct)
_FIELD = re.compile(r" - at `\$\.(\w+).*`$")


def read_query(query: Mapping[str, str], kind: type[_T], **more: str) -> _T:
    """Return the query, and `more` fields, as a struct of a kind. Raise InvalidRequest, naming the field."""
    given = {name: value for name, value in query.items() if value}
    try:
        return msgspec.convert({**given, **more}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind) from error


def _invalid(complaint: str, kind: type[msgspec.Struct]) -> InvalidRequest:
    """Return the error for a complaint of msgspec: which field it is about, and what it should be."""
    field = _FIELD.search(complaint)
    if field is None:
        return InvalidRequest(f"The query is not valid: {complaint}.")
    description = _description(kind, field[1])
    wrong = f"should be {description}" if description else f"is not valid: {complaint[: field.start()]}"
    return InvalidRequest(f"`{field[1]}` {wrong}.", param=field[1])


def _description(kind: type[msgspec.Struct], name: str) -> str | None:
    """Return the description of a field, if it has one."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return next((meta.description for meta in getattr(hint, "__metadata__", ())), None)
