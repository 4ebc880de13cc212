"""JSON Schemas for llama.cpp, which enforces them with llguidance.

llguidance leaves out what it cannot enforce (`not`, `uniqueItems`, formats it does not know), but on a schema
that is wrong llama.cpp only logs and then enforces nothing at all. So schemas are checked here first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from tutti.base.errors import InvalidRequest
from tutti.engines.regex import regex_grammar

Json = dict[str, Any]

_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_SCHEMAS = ("items", "additionalProperties", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_NEVER_EMPTY = ("type", "enum", "anyOf", "oneOf")
_MAX_SCHEMAS = 5000
_BOUNDS = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "pattern": str,
    "patternProperties": dict,
    "properties": dict,
    "required": list,
    "$defs": dict,
    "definitions": dict,
    "enum": list,
    "anyOf": list,
    "oneOf": list,
    "allOf": list,
    "prefixItems": list,
    **{keyword: (int, float) for bound in _BOUNDS for keyword in bound},
}
_OPTIONS = {
    # Small models love to go on with white space for ever, and llguidance repeats any pattern of it.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
    "lenient": True,
}


def enforceable(schema: Json | None, param: str = "response_format") -> Json:
    """The schema as llama.cpp is to get it. Raises InvalidRequest where it is wrong."""
    root = schema or {}
    for count, (part, path) in enumerate(_parts(root, "")):
        if count > _MAX_SCHEMAS:
            raise _wrong("it is too large", path, param)
        _check(part, path, root, param)
    return {**root, "x-guidance": _OPTIONS}


def forced_schema(tools: Sequence[Json], choice: str | Mapping[str, str]) -> Json:
    """What a call of the chosen tool (`required`: of any) looks like: `{"name": ..., "arguments": {...}}`."""
    functions = [tool["function"] for tool in tools]
    if not isinstance(choice, str):
        functions = [function for function in functions if function["name"] == choice["name"]]
        if not functions:
            raise InvalidRequest(f"There is no tool named {choice['name']}.", param="tool_choice")
    parameters = {f"tool{index}": _parameters(function, index) for index, function in enumerate(functions)}
    calls = [_call_schema(function["name"], f"tool{index}") for index, function in enumerate(functions)]
    return enforceable({"anyOf": calls, "$defs": parameters}, "tools")


def _call_schema(name: str, definition: str) -> Json:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{definition}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _parameters(function: Json, index: int) -> Json:
    """The function's parameters, with references moved to where they are now. Without any, `{}` is the only
    argument; only what they name may be given unless they say otherwise."""
    parameters: Json = function.get("parameters") or {"type": "object", "properties": {}}
    if "properties" in parameters:
        parameters = {"type": "object", "additionalProperties": False, **parameters}
    return cast(Json, _moved(parameters, f"#/$defs/tool{index}"))


def _moved(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_moved(item, root) for item in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    return {
        key: root + item[1:]
        if key == "$ref" and isinstance(item, str) and item.startswith("#")
        else _moved(item, root)
        for key, item in cast(Json, value).items()
    }


def _parts(schema: Any, path: str) -> Iterator[tuple[Any, str]]:
    """The schema and all schemas within, parents first."""
    waiting: list[tuple[Any, str]] = [(schema, path)]
    while waiting:
        part, where = waiting.pop()
        yield part, where
        if isinstance(part, dict):
            waiting += _children(cast(Json, part), where)


def _children(schema: Json, path: str) -> Iterator[tuple[Any, str]]:
    for key in _SCHEMAS:
        if key in schema and not isinstance(schema[key], list):
            yield schema[key], f"{path}/{key}"
    for key in _LISTS:
        if isinstance(items := schema.get(key), list):
            yield from ((item, f"{path}/{key}/{index}") for index, item in enumerate(cast(list[Any], items)))
    for key in _MAPS:
        if isinstance(named := schema.get(key), dict):
            yield from ((item, f"{path}/{key}/{name}") for name, item in cast(Json, named).items())


def _check(schema: Any, path: str, root: Json, param: str) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise _wrong("a schema is an object or a boolean", path, param)
    schema = cast(Json, schema)
    kinds = schema.get("type", [])
    for kind in cast(list[Any], kinds) if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _wrong(f"there is no type {kind!r}", path, param)
    for keyword in _NEVER_EMPTY:
        if schema.get(keyword) == []:
            raise _wrong(f"{keyword} is empty, so nothing can match it", path, param)
    for keyword, kind in _KINDS.items():
        if keyword in schema and not isinstance(schema[keyword], kind):
            raise _wrong(f"{keyword} has a value of a wrong kind", path, param)
    for pattern in (schema.get("pattern", ""), *schema.get("patternProperties", ())):
        regex_grammar(pattern)
    if "$ref" in schema and not _resolves(root, schema["$ref"]):
        raise _wrong(f"{schema['$ref']!r} leads nowhere", path, param)
    for low, high in _BOUNDS:
        if low in schema and high in schema and schema[low] > schema[high]:
            raise _wrong(f"{low} is above {high}", path, param)


def _resolves(root: Any, reference: Any) -> bool:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return False
    value = root
    for step in reference.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            items = cast(list[Any], value)
            value = items[int(step)] if step.isdigit() and int(step) < len(items) else None
        else:
            value = cast(Json, value).get(step) if isinstance(value, dict) else None
        if value is None:
            return False
    return True


def _wrong(reason: str, path: str, param: str) -> InvalidRequest:
    return InvalidRequest(f"The JSON schema cannot be enforced: {reason} (at {path or '/'}).", param=param)
