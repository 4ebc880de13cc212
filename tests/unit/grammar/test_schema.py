from typing import Any

import pytest

from tutti.base.errors import InvalidRequest
from tutti.engines.grammar import enforceable, forced_schema

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "any": True}}
TREE = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}


def _tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    function = {"name": name} if parameters is None else {"name": name, "parameters": parameters}
    return {"type": "function", "function": function}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"], "pattern": "^a+$"},
        {"anyOf": [{"type": "integer"}, {"enum": ["a", 1]}]},
        {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "number"}},
        {"type": "object", "properties": {"type": {"type": "string"}, "pattern": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {"type": "null"}}},
        TREE,
    ],
)
def test_a_sound_schema_is_passed_on(schema: dict[str, Any]) -> None:
    given = enforceable(schema)
    assert {key: value for key, value in given.items() if key != "x-guidance"} == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"type": ["string", 1]},
        {"properties": {"a": {"type": "str"}}},
        {"anyOf": [{"type": "integer"}, "string"]},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "http://127.0.0.1/schema"},
        {"items": {"$ref": 5}},
        {"pattern": "(a"},
        {"patternProperties": {"(?=a)": {}}},
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"enum": []},
        {"properties": {"a": {"anyOf": []}}},
        {"oneOf": []},
        {"type": []},
        {"anyOf": [{"type": "integer"}] * 6000},
    ],
)
def test_a_schema_that_would_not_be_enforced_is_the_callers_mistake(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        enforceable(schema)


def test_odd_values_of_known_keywords_are_no_crash() -> None:
    for key in ("minimum", "pattern", "items", "properties", "anyOf", "$defs", "patternProperties", "type"):
        for value in (None, 1, "x", [1], {"a": 1}, True):
            schema = {key: value, "maximum": 5, "type": "integer"} if key != "type" else {key: value}
            try:
                enforceable(schema)
            except InvalidRequest:
                continue


def test_required_allows_any_tool_and_a_name_only_that_one() -> None:
    tools = [_tool("f", {"type": "object", "properties": {"x": {"type": "string"}}}), _tool("g")]
    names = [call["properties"]["name"] for call in forced_schema(tools, "required")["anyOf"]]
    assert names == [{"const": "f"}, {"const": "g"}]
    named = forced_schema(tools, {"name": "g"})
    assert [call["properties"]["name"] for call in named["anyOf"]] == [{"const": "g"}]
    with pytest.raises(InvalidRequest) as refused:
        forced_schema(tools, {"name": "h"})
    assert refused.value.param == "tool_choice"


def test_arguments_are_those_that_the_parameters_name() -> None:
    schema = forced_schema([_tool("f", {"properties": {"x": {}}}), _tool("g")], "required")
    assert schema["$defs"]["tool0"]["additionalProperties"] is False
    assert schema["$defs"]["tool1"] == {"type": "object", "additionalProperties": False, "properties": {}}


def test_references_within_parameters_still_lead_somewhere() -> None:
    schema = forced_schema([_tool("g"), _tool("f", TREE)], "required")
    parameters = schema["$defs"]["tool1"]
    assert parameters["$ref"] == "#/$defs/tool1/$defs/Node"
    assert parameters["$defs"]["Node"]["properties"]["next"]["$ref"] == "#/$defs/tool1/$defs/Node"
