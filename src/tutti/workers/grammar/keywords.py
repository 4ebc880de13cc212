"""The keywords of JSON Schema: which apply to which type, and which can be enforced."""

from collections.abc import Mapping
from typing import Any, TypeGuard

Json = dict[str, Any]

TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "minProperties",
        "maxProperties",
    ),
    "array": ("items", "prefixItems", "additionalItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""The keywords that apply only to values of a type. A schema that uses one without `type` means that type."""

LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
MAPS = ("properties", "patternProperties")
LIMITS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
NUMBERS = OF_TYPE["number"]
NOT_ENFORCED = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "uniqueItems",
        "contains",
        "minContains",
        "maxContains",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$dynamicRef",
        "$recursiveRef",
    }
)
"""Keywords that no grammar can express.

Unknown ones (`title`, `x-order`) have no effect, as in the standard.
"""

WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "not": (False,),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "propertyNames": (True, {}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
}
"""Values with which a keyword has no effect, so that it need not be enforced."""
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "$ref": str,
    "format": str,
    "pattern": str,
    "required": list,
    "enum": list,
    **dict.fromkeys(MAPS, dict),
    **dict.fromkeys(LISTS, list),
    **dict.fromkeys((*LIMITS, *NUMBERS), (int, float)),
}


def is_object(value: Any) -> TypeGuard[Json]:
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def inferred_types(schema: Json) -> list[str]:
    """Return the types that the schema's keywords apply to."""
    return [kind for kind, keywords in OF_TYPE.items() if any(keyword in schema for keyword in keywords)]
