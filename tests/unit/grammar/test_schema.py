from typing import Any

import pytest

from tutti.workers.grammar.make import Made, Make, Part, made
from tutti.workers.grammar.refused import Refused

INTEGER = {"type": "integer"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "any": True}}
TREE = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}


def _made(schema: Any, *, strict: bool = True, tokens: int = 1024) -> Made:
    return made(Make(tokens, [Part("response_format", schema, strict=strict)]))


def _refused(schema: Any, **fields: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        _made(schema, **fields)
    assert refused.value.param == "response_format"
    return refused.value


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"], "pattern": "^a+$"},
        {"anyOf": [{"type": "integer"}, {"enum": ["a", 1]}]},
        {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "number"}},
        {"type": "object", "properties": {"type": {"type": "string"}, "pattern": {"type": "string"}}},
        TREE,
    ],
)
def test_a_sound_schema_is_passed_on(schema: dict[str, Any]) -> None:
    assert _made(schema).schema == schema


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "text"}, ""),
        ({"type": ["string", 1]}, ""),
        ({"properties": {"a": {"type": "str"}}}, "/properties/a"),
        ({"anyOf": [INTEGER, "string"]}, "/anyOf/1"),
        ({"$ref": "#/$defs/Missing"}, ""),
        ({"$ref": "http://127.0.0.1/schema"}, ""),
        ({"items": {"$ref": 5}}, "/items"),
        ({"items": {"pattern": "(a"}}, "/items/pattern"),
        ({"patternProperties": {"(?=a)": {}}}, "/patternProperties"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, ""),
        ({"properties": {"a": {"anyOf": []}}}, "/properties/a"),
        ({"type": "integer", "minimum": 2**60}, ""),
        ({"minLength": -1}, ""),
        ({"type": "array", "minItems": 2**31 - 1}, ""),
        ({"properties": {"a": {"minLength": 2**31 - 1}}}, "/properties/a"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(schema: dict[str, Any], path: str) -> None:
    assert _refused(schema, strict=False).path == path


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "enum": ["x", "y"]},
        {"allOf": [{"type": "string"}, INTEGER]},
        {"patternProperties": {"^x-": {"type": "boolean"}, "-id$": INTEGER}, "additionalProperties": False},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "string", "pattern": "^a", "const": "b"},
        False,
    ],
)
def test_what_nothing_can_match_is_refused(schema: Any) -> None:
    _refused(schema, strict=False)


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"properties": {"a": {"uniqueItems": True}}}, "uniqueItems at /properties/a"),
        ({"contains": INTEGER}, "contains at /"),
        ({"propertyNames": {"pattern": "^a"}}, "propertyNames at /"),
        ({"not": INTEGER}, "not at /"),
        ({"if": INTEGER, "then": True}, "if at /"),
        ({"$dynamicRef": "#x"}, "$dynamicRef at /"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties at /"),
        ({"type": "string", "format": "uri"}, "format 'uri' at /"),
        ({"type": "object", "minProperties": 3}, "minProperties at /"),
        ({"oneOf": [INTEGER, {"type": "number"}]}, "oneOf"),
    ],
)
def test_what_no_grammar_says_is_refused_if_strict_and_told_if_not(
    schema: dict[str, Any], keyword: str
) -> None:
    assert keyword.partition(" at ")[0] in _refused(schema).reason
    assert _made(schema, strict=False).left_out[0].startswith(keyword)


def test_what_means_nothing_is_no_reason_to_refuse() -> None:
    schema = {
        "type": "array",
        "uniqueItems": False,
        "title": "T",
        "x-order": 3,
        "$schema": "s",
        "examples": [1],
    }
    assert _made(schema).schema == {"type": "array", "title": "T"}


def test_a_type_that_is_only_hinted_at_is_meant() -> None:
    assert _made({"properties": {"a": {"minimum": 3}}}).schema == {
        "properties": {"a": {"minimum": 3, "type": "number"}},
        "type": "object",
    }


def test_bounds_that_no_answer_reaches_are_left_out() -> None:
    endless = 2**31 - 1
    schema = {"items": {"type": "string", "maxLength": endless}, "type": "array", "maxItems": endless}
    assert _made(schema).schema == {"items": {"type": "string"}, "type": "array"}
    assert _made({"type": "array", "maxItems": 1000}).schema == {"type": "array", "maxItems": 1000}


def test_bounds_that_cost_too_much_are_refused() -> None:
    lists = {f"p{number}": {"type": "array", "maxItems": 1000} for number in range(11)}
    assert "maxItems" in _refused({"properties": lists}).reason


def test_references_are_read_wherever_they_lead() -> None:
    given = {"properties": {"a": {"$ref": "#/properties/b~1c"}, "b/c": {"type": "null"}, "d": {"$ref": "#"}}}
    schema = _made(given).schema
    assert schema["properties"]["a"] == {"$ref": "#/$defs/b_1c"}
    assert schema["$defs"]["b_1c"] == {"type": "null"}


def test_a_call_has_the_name_and_the_arguments_of_its_function() -> None:
    parts = [
        Part("tools.0.function.parameters", {"properties": {"x": {}}}, "f"),
        Part("tools.1.function.parameters", {}, "g"),
        Part("tools.2.function.parameters", TREE, "h"),
    ]
    calls = made(Make(1024, parts)).schema["anyOf"]
    assert [call["properties"]["name"] for call in calls] == [{"const": "f"}, {"const": "g"}, {"const": "h"}]
    arguments = [call["properties"]["arguments"] for call in calls]
    assert arguments[0]["additionalProperties"] is arguments[1]["additionalProperties"] is False
    assert arguments[2] == {"$ref": "#/$defs/Node"}


def test_the_error_names_the_tool() -> None:
    parts = [
        Part("tools.0.function.parameters", {}, "f"),
        Part("tools.1.function.parameters", {"type": "text"}, "g"),
    ]
    with pytest.raises(Refused) as refused:
        made(Make(1024, parts))
    assert refused.value.param == "tools.1.function.parameters"
