"""Compares two JSON Schemas by what they mean to a client: property names, required, types and enums.

Spellings that mean the same are brought together first: `const` and `enum`, `nullable` and a null member,
`allOf` of one schema and a remark, a union of one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]


class Difference(NamedTuple):
    where: str
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}" + (f" ({self.detail})" if self.detail else "")


class Side(NamedTuple):
    """A schema and the document that its references are in."""

    document: Json
    schema: Any


class Shape(NamedTuple):
    nullable: bool
    alternatives: tuple[Json, ...]
    """Without references, unions and nulls."""


def compare(where: str, ours: Side, theirs: Side, depth: int = 0) -> Iterator[Difference]:
    our, their = shape(ours), shape(theirs)
    if our.nullable != their.nullable:
        yield Difference(where, "nullable" if our.nullable else "not nullable")
    if not our.alternatives or not their.alternatives or depth > 16:
        return  # anything goes
    left = list(our.alternatives)
    for alternative in their.alternatives:
        match = max(left, key=lambda candidate: _likeness(candidate, alternative, ours, theirs), default=None)
        if match is None or _likeness(match, alternative, ours, theirs) < 0:
            yield Difference(where, "missing alternative", _name(alternative))
            continue
        left.remove(match)
        yield from _compare_one(where, Side(ours.document, match), Side(theirs.document, alternative), depth)
    for alternative in left:
        yield Difference(where, "extra alternative", _name(alternative))


def shape(side: Side) -> Shape:
    nullable, alternatives = False, []
    for member in _members(side):
        if member.get("type") == "null" or member.get("enum") == [None]:
            nullable = True
        else:
            alternatives.append(member)
        nullable |= bool(member.get("nullable"))
    plain = [it for it in alternatives if set(it) - _REMARKS]
    return Shape(nullable, tuple(_without_duplicates(plain)))


_REMARKS = {"nullable", "description", "title", "default", "deprecated", "example"}


def _members(side: Side) -> Iterator[Json]:
    schema = side.schema
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        for member in _members(Side(side.document, resolve(side.document, schema["$ref"]))):
            yield {**member, **({"nullable": True} if rest.get("nullable") else {})}
        return
    for union in ("anyOf", "oneOf"):
        if union in schema:
            if schema.get("nullable"):
                yield {"type": "null"}
            members = [m for part in schema[union] for m in _members(Side(side.document, part))]
            yield from _opened(members)
            return
    if "allOf" in schema:
        parts = [m for part in schema["allOf"] for m in _members(Side(side.document, part))]
        merged: Json = {}
        for part in parts:
            merged |= part
        yield merged
        return
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    if isinstance(schema.get("type"), list):
        yield from ({**schema, "type": name} for name in schema["type"])
        return
    yield schema


def _opened(members: list[Json]) -> list[Json]:
    """An enum beside any string only suggests values."""
    any_string = any(member.get("type") == "string" and "enum" not in member for member in members)
    return [m for m in members if not (any_string and "enum" in m and _type(m) == "string")]


def _without_duplicates(alternatives: list[Json]) -> list[Json]:
    """Members that accept the same type of value, objects apart, are one."""
    kept: list[Json] = []
    for alternative in alternatives:
        if _type(alternative) in ("object", "array") or alternative not in kept:
            kept.append(alternative)
    return kept


def resolve(document: Json, ref: str) -> Any:
    value: Any = document
    for part in ref.removeprefix("#/").split("/"):
        value = value[part]
    return value


def _type(schema: Json) -> str:
    if "type" in schema:
        return schema["type"]
    if "enum" in schema:
        return {str: "string", bool: "boolean", int: "integer"}.get(type(schema["enum"][0]), "any")
    return "object" if "properties" in schema else "any"


def _likeness(ours: Json, theirs: Json, our_side: Side, their_side: Side) -> float:
    """Negative: not meant for the same values."""
    if {_type(ours), _type(theirs)} <= {"integer", "number"}:
        return 2 + (_type(ours) == _type(theirs))
    if _type(ours) != _type(theirs):
        return 0 if "any" in (_type(ours), _type(theirs)) else -1
    our_properties, their_properties = ours.get("properties", {}), theirs.get("properties", {})
    score = 1.0
    for name in our_properties.keys() & their_properties.keys():
        our = shape(Side(our_side.document, our_properties[name])).alternatives
        their = shape(Side(their_side.document, their_properties[name])).alternatives
        if our and their:
            our_enum, their_enum = our[0].get("enum"), their[0].get("enum")
            if our_enum and their_enum:
                score += 5 if set(our_enum) & set(their_enum) else -20
            score += 1 if _type(our[0]) == _type(their[0]) else -5
    return score


def _compare_one(where: str, ours: Side, theirs: Side, depth: int) -> Iterator[Difference]:
    our, their = ours.schema, theirs.schema
    if _type(our) != _type(their):
        yield Difference(where, "type", f"{_type(our)} for {_type(their)}")
        return
    yield from _compare_enums(where, our.get("enum"), their.get("enum"))
    yield from _compare_properties(where, ours, theirs, depth)
    if "items" in our and "items" in their:
        our_items, their_items = (Side(side.document, side.schema["items"]) for side in (ours, theirs))
        yield from compare(f"{where}[]", our_items, their_items, depth + 1)
    our_values, their_values = our.get("additionalProperties"), their.get("additionalProperties")
    if isinstance(our_values, dict) and isinstance(their_values, dict):
        yield from compare(
            f"{where}{{}}", Side(ours.document, our_values), Side(theirs.document, their_values), depth + 1
        )
    elif (our_values is False) != (their_values is False):
        yield Difference(where, "closed" if our_values is False else "open")


def _compare_enums(where: str, ours: list[Any] | None, theirs: list[Any] | None) -> Iterator[Difference]:
    if ours is None and theirs is None:
        return
    if ours is None:
        yield Difference(where, "no enum", _list(theirs))
    elif theirs is None:
        yield Difference(where, "enum", _list(ours))
    else:
        if missing := set(theirs) - set(ours):
            yield Difference(where, "missing values", _list(missing))
        if extra := set(ours) - set(theirs):
            yield Difference(where, "extra values", _list(extra))


def _compare_properties(where: str, ours: Side, theirs: Side, depth: int) -> Iterator[Difference]:
    our, their = ours.schema.get("properties", {}), theirs.schema.get("properties", {})
    if not their and not our:
        return
    for name in their:
        if name not in our:
            yield Difference(f"{where}.{name}", "missing property")
        else:
            our_property, their_property = Side(ours.document, our[name]), Side(theirs.document, their[name])
            yield from compare(f"{where}.{name}", our_property, their_property, depth + 1)
    for name in our:
        if name not in their:
            yield Difference(f"{where}.{name}", "extra property")
    our_required, their_required = (set(side.schema.get("required", ())) for side in (ours, theirs))
    for name in sorted(our_required & their.keys() - their_required):
        yield Difference(f"{where}.{name}", "required")
    for name in sorted(their_required & our.keys() - our_required):
        yield Difference(f"{where}.{name}", "not required")


def _list(values: Any) -> str:
    return ", ".join(sorted(map(str, values)))


def _name(schema: Json) -> str:
    for name in ("role", "type"):
        tag = schema.get("properties", {}).get(name, {})
        if "enum" in tag or "const" in tag:
            return f"{name} {_list(tag.get('enum') or [tag['const']])}"
    items = schema.get("items", {})
    return _type(schema) + (f" of {items.get('type', 'things')}" if items else "")
