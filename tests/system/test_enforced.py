"""What is asked to be enforced, through HTTP and llama.cpp: enforced, or refused at once naming the field."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.grammars import keeps, patterns, schemas
from tests.support.server import Server, running_server
from tests.support.weights import QWEN, SMOLLM2

Json = dict[str, Any]
TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["value"],
}
ENDLESS = 2**31 - 1

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([SMOLLM2, QWEN]) as server:
        yield server


def _form(schema: Any, **fields: Any) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **fields}}


def _tool(name: str, parameters: Any) -> Json:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def _talk(server: Server, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "Give an example."}]
    body = {"model": SMOLLM2, "messages": messages, "temperature": 1, "max_tokens": 60, **fields}
    return server.client.post("/v1/chat/completions", json=body, timeout=120)


def _said(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


@pytest.mark.parametrize(
    "pattern", [r'^say "[a-z]{3}" now$', r'^"[^"]{2}"$', r"^[A-Z]:\\\\[a-z]{3,8}$", r"^\n[ab]{2}\t[cd]$"]
)
def test_a_pattern_goes_on_after_what_json_escapes(server: Server, pattern: str) -> None:
    schema = {
        "type": "object",
        "properties": {"y": {"type": "string", "pattern": pattern}},
        "required": ["y"],
        "additionalProperties": False,
    }
    written = [_said(_talk(server, response_format=_form(schema)))["message"]["content"]]
    forced = _said(_talk(server, model=QWEN, tools=[_tool("f", schema)], tool_choice="required"))
    written.append(forced["message"]["tool_calls"][0]["function"]["arguments"])
    for text in written:
        assert re.search(pattern, json.loads(text)["y"])


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_recursive_tool_fails_no_request(server: Server, choice: str) -> None:
    tools = [_tool("save_tree", TREE), _tool("other", {"type": "object", "properties": {}})]
    _said(_talk(server, model=QWEN, tools=tools, tool_choice=choice, max_tokens=20))


def test_a_wrong_tool_is_named(server: Server) -> None:
    wrong = _tool("f", {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}})
    answer = _talk(server, tools=[_tool("g", TREE), wrong], tool_choice="required")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools.1.function.parameters")


def test_what_cannot_be_enforced_is_refused_before_anything_is_written(server: Server) -> None:
    never = {"type": "object", "properties": {"a": {"type": "integer", "enum": ["x"]}}, "required": ["a"]}
    overlapping = {
        "type": "object",
        "patternProperties": {"^x-": {"type": "boolean"}, "-id$": {"type": "null"}},
    }
    for schema in (never, overlapping, {"$ref": "#"}):
        answer = _talk(server, response_format=_form(schema), max_tokens=2000)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "response_format")


def test_a_keyword_that_is_left_out_is_refused_or_told(server: Server) -> None:
    schema = {
        "type": "array",
        "items": {"enum": ["p", "q"]},
        "minItems": 2,
        "maxItems": 2,
        "uniqueItems": True,
    }
    refused = _talk(server, response_format=_form(schema, strict=True))
    assert refused.status_code == 400 and "uniqueItems" in refused.json()["error"]["message"]
    told = _talk(server, response_format=_form(schema))
    assert "uniqueItems" in told.json()["warnings"][0]["message"]


def _attacks() -> Iterator[Any]:
    yield {"type": "array", "maxItems": ENDLESS, "items": {"type": "string"}}
    yield {"type": "array", "minItems": ENDLESS, "items": {"type": "string"}}
    yield {"type": "string", "minLength": 5000, "maxLength": 6000, "pattern": r"^(\w+\s?)+$"}
    yield {"type": "string", "pattern": "^(((a{0,99999}){0,99999}){0,99999}){0,99999}$"}
    yield {"type": "integer", "multipleOf": 999_983}
    yield {"type": "object", "required": [f"p{number}" for number in range(20_000)]}
    yield {"type": "object", "properties": {f"p{number}": {"type": "integer"} for number in range(5000)}}
    pairs = ([{"properties": {f"p{i}{j}": {"type": "null"}}} for i in range(2)] for j in range(12))
    yield {"allOf": [{"anyOf": pair} for pair in pairs]}
    chain = {f"d{number}": {"items": {"$ref": f"#/$defs/d{number + 1}"}} for number in range(3000)}
    yield {"$ref": "#/$defs/d0", "$defs": {**chain, "d3000": {"type": "null"}}}
    deep: Json = {"type": "null"}
    for _ in range(60):
        deep = {"type": "array", "items": deep, "maxItems": ENDLESS}
    yield deep
    yield {"enum": [f"value-{number}" for number in range(10_000)]}


def test_no_schema_keeps_others_waiting(server: Server) -> None:
    """Another client's short answers go on while each of the schemas is tried, in a response format and in
    tools, and the engine does not grow."""
    done: list[float] = []

    def others(stop: list[bool]) -> None:
        while not stop:
            began = time.monotonic()
            _said(_talk(server, max_tokens=1))
            done.append(time.monotonic() - began)

    stop: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(others, stop)
        try:
            for schema in _attacks():
                for fields in (
                    {"response_format": _form(schema)},
                    {"tools": [_tool("f", {"type": "object", "properties": {"a": schema}})]},
                    {"tools": [_tool("f", schema)], "tool_choice": "required"},
                ):
                    answer = _talk(server, max_tokens=4, **fields)
                    assert answer.status_code in (200, 400), answer.text
        finally:
            stop.append(True)
        watched.result()
    assert len(done) > 10
    print("slowest of the others", max(done), "of", len(done))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", [SMOLLM2, QWEN])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas)
def test_models_keep_to_schemas(server: Server, model: str, schema: Any) -> None:
    answer = _talk(server, model=model, response_format=_form(schema, strict=True), max_tokens=200)
    if answer.status_code == 400:
        assert answer.json()["error"]["param"] == "response_format"
    elif (said := _said(answer))["finish_reason"] != "length":
        assert not keeps(schema, said["message"]["content"])


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", [SMOLLM2, QWEN])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(pattern=patterns, in_schema=st.booleans())
def test_models_match_patterns(server: Server, model: str, pattern: str, in_schema: bool) -> None:
    form = (
        _form({"type": "string", "pattern": pattern}) if in_schema else {"type": "regex", "pattern": pattern}
    )
    answer = _talk(server, model=model, response_format=form, max_tokens=60)
    if answer.status_code == 400:
        assert answer.json()["error"]["param"].startswith("response_format")
    elif (said := _said(answer))["finish_reason"] != "length":
        text = said["message"]["content"]
        assert re.search(pattern, json.loads(text)) if in_schema else re.fullmatch(pattern, text)
