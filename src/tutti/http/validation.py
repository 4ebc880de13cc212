"""Validation errors: Pydantic's list of complaints as one error that names the field and the remedy."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tutti.base.errors import InvalidRequest

_SHOULD = "Input should be "

Complaint = Mapping[str, Any]
Path = tuple[str | int, ...]


def invalid_request(complaints: Sequence[Complaint], body: Any) -> InvalidRequest:
    """Return one error for the complaints. A value that fits no member of a union draws a complaint from each
    member; the one that got furthest into the value is the most telling, and those about the same field are
    alternatives."""
    if complaints[0]["type"] == "json_invalid":
        return InvalidRequest(f"The body is not valid JSON: {complaints[0]['ctx']['error']}.")
    if isinstance(body, bytes):
        return InvalidRequest("The body must be JSON: send it with `content-type: application/json`.")
    located = [(_path(complaint, body), complaint) for complaint in complaints]
    path = max((path for path, _ in located), key=len)
    param = ".".join(map(str, path)) or None
    return InvalidRequest(_message(param, [about for where, about in located if where == path]), param=param)


def _path(complaint: Complaint, body: Any) -> Path:
    source, *loc = complaint["loc"]
    if source != "body":
        return tuple(loc)
    path = _within(body, loc)
    if complaint["type"] == "missing" and loc:
        return (*path, loc[-1])
    if complaint["type"].startswith("union_tag_"):
        return (*path, *_tag_field(complaint))
    return path


def _within(body: Any, loc: Sequence[str | int]) -> Path:
    """Return `loc` without the names of union members, which Pydantic mixes into it."""
    path: list[str | int] = []
    value = body
    for part in loc:
        if _has(value, part):
            value = value[part]
            path.append(part)
    return tuple(path)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list) and part < len(cast(list[Any], value))
    return isinstance(value, dict) and part in value


def _tag_field(complaint: Complaint) -> Path:
    """Return the field that says which member of a union is meant, unless a function decides that."""
    name = complaint["ctx"]["discriminator"]
    return () if name.endswith("()") else (name.strip("'"),)


def _message(param: str | None, complaints: Sequence[Complaint]) -> str:
    name = f"`{param}`" if param else "The body"
    kinds = {complaint["type"] for complaint in complaints}
    if kinds <= {"missing", "union_tag_not_found"}:
        return f"{name} is required: add it." if param else "A JSON body is required."
    if "extra_forbidden" in kinds:
        return f"{name} is not a parameter of this operation: remove it."
    for complaint in complaints:
        if complaint["type"] == "too_short":  # of a list: no other member of the union was meant
            return f"{name} {_too_short(complaint['ctx']['min_length'])}."
    wanted = dict.fromkeys(text for text in map(_wanted, complaints) if text)
    if wanted:
        return f"{name} should be {', or '.join(wanted)}."
    reason = complaints[0]["msg"].removeprefix("Value error, ")
    return f"{reason if '`' in reason else f'{name}: {reason}'}."


def _too_short(least: int) -> str:
    return "must not be empty" if least == 1 else f"must have at least {least} items"


def _wanted(complaint: Complaint) -> str:
    if complaint["type"] == "union_tag_invalid":
        return f"one of {complaint['ctx']['expected_tags']}"
    message = complaint["msg"]
    return message.removeprefix(_SHOULD) if message.startswith(_SHOULD) else ""
