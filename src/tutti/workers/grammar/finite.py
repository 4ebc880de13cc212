"""Finds recursive schemas that no finite value can match, because each value requires another inside it."""

from collections.abc import Set
from typing import Any

from tutti.workers.grammar.keywords import Json, is_object


def ends(schema: Any, definitions: Json) -> bool:
    """Return True if some finite value can match the schema, as far as references decide it."""
    ending: set[str] = set()
    while True:
        found = {name for name, it in definitions.items() if name not in ending and _ends(it, ending)}
        if not found:
            return _ends(schema, ending)
        ending |= found


def _ends(schema: Any, ending: Set[str]) -> bool:
    """Return True if a finite value can match. `ending` are the definitions known to have one."""
    if not is_object(schema):
        return schema is not False
    parts = [_ends(it, ending) for key in ("anyOf", "oneOf") for it in schema.get(key, ())]
    return (
        ("$ref" not in schema or schema["$ref"].rpartition("/")[2] in ending)
        and (not parts or any(parts))
        and all(_ends(it, ending) for it in schema.get("allOf", ()))
        and (schema.get("type") not in ("object", "array") or _fields_end(schema, ending))
    )


def _fields_end(schema: Json, ending: Set[str]) -> bool:
    if schema["type"] == "object":
        named, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return all(_ends(named.get(name, others), ending) for name in _unpatterned(schema))
    count = schema.get("minItems", 0)
    first = schema.get("prefixItems", [])[:count]
    rest = [schema.get("items", True)] if count > len(first) else []
    return all(_ends(it, ending) for it in (*first, *rest))


def _unpatterned(schema: Json) -> list[str]:
    """Return the required names whose schema is their own or that of all additional names."""
    required = schema.get("required", [])
    if "patternProperties" not in schema:
        return required
    return [name for name in required if name in schema.get("properties", {})]
