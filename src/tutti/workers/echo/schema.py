"""Finds the smallest JSON value that a JSON Schema allows, for those parts of JSON Schema that tests use."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

_THIS = re.compile(r"([-\d.]+)\s*\[\[this\]\]")
_WORD = re.compile(r"[^\s\"',.:;()\[\]]+")
_EMPTY: Mapping[str, Any] = {"boolean": False, "null": None, "integer": 0, "number": 0}


def minimal(schema: Any, text: str, whole: Mapping[str, Any] | None = None) -> Any:
    """Return the smallest value that matches the schema. Raises ValueError if none can.

    Free strings are filled with `text`, so that an answer still shows what it answers. `whole` is the schema
    that references point into.
    """
    if not isinstance(schema, dict):
        return {}
    schema = cast(dict[str, Any], schema)
    root: Mapping[str, Any] = whole or schema
    for key in ("type", "enum", "anyOf", "oneOf"):
        if schema.get(key) == []:
            raise ValueError(f"{key} is empty, so nothing can match it")
    if "$ref" in schema:
        return minimal(_resolve(root, schema["$ref"]), text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _pointed_at(schema["enum"], text) or schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return minimal(schema[key][0], text, root)
    if "allOf" in schema:
        return {name: value for part in schema["allOf"] for name, value in minimal(part, text, root).items()}
    return _of_type(schema, text, root)


def _of_type(schema: Mapping[str, Any], text: str, root: Mapping[str, Any]) -> Any:
    kinds: str | list[str] = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: minimal(properties.get(name, {}), text, root) for name in schema.get("required", ())}
    if kind == "array":
        return [minimal(schema.get("items", {}), text, root)] * schema.get("minItems", 0)
    if kind == "string":
        return text[: schema.get("maxLength")].ljust(schema.get("minLength", 0), "x")
    if kind in ("integer", "number"):
        return _number(text) if _THIS.search(text) else max(_EMPTY[kind], schema.get("minimum", 0))
    if kind not in _EMPTY:
        raise ValueError(f"there is no type {kind!r}")
    return _EMPTY[kind]


def _pointed_at(values: Sequence[Any], text: str) -> Any:
    """Return the value that the text names last before `[[this]]`, or None if there is none."""
    before, mark, _ = text.partition("[[this]]")
    words = _WORD.findall(before) if mark else []
    return next((word for word in reversed(words) if word in values), None)


def _number(text: str) -> float:
    """Return the number just before `[[this]]`."""
    found = _THIS.search(text)
    return float(found[1]) if found else 0.0


def _resolve(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found[part] if part else found
    return found
