"""Reading what a WebSocket is asked for in its query."""

import re
from collections.abc import Mapping
from typing import TypeVar, get_type_hints

import msgspec

from tutti.base.errors import InvalidRequest

_T = TypeVar("_T", bound=msgspec.Struct)
_FIELD = re.compile(r" - at `\$\.(\w+).*`$")


def read_query(query: Mapping[str, str], kind: type[_T], **more: str) -> _T:
    """Raises InvalidRequest, which names the field and says what it should be."""
    given = {name: value for name, value in query.items() if value}
    try:
        return msgspec.convert({**given, **more}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong(str(error), kind) from error


def _wrong(told: str, kind: type[msgspec.Struct]) -> InvalidRequest:
    field = _FIELD.search(told)
    if field is None:
        return InvalidRequest(f"The query is not valid: {told}.")
    meant = _meant(kind, field[1])
    wrong = f"should be {meant}" if meant else f"is not valid: {told[: field.start()]}"
    return InvalidRequest(f"`{field[1]}` {wrong}.", param=field[1])


def _meant(kind: type[msgspec.Struct], name: str) -> str | None:
    """Return the description of a field, if it has one."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return next((it.description for it in getattr(hint, "__metadata__", ())), None)
