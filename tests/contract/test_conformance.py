"""What we serve is what the contract says, but for the differences that are listed with their reasons."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import yaml
from tests.contract.conformance import asyncapi_differences, openapi_differences
from tests.contract.conftest import shared
from tests.contract.schemas import Difference, Side, compare
from tests.contract.seed import read

LISTED = tomllib.loads((Path(__file__).parents[2] / "contract/differences.toml").read_text())["difference"]


def covers(entry: dict, difference: Difference) -> bool:
    pattern = re.escape(entry["where"]).replace(r"\*", ".*")
    return entry["kind"] == difference.kind and re.fullmatch(pattern, difference.where) is not None


async def test_every_difference_is_listed_and_every_entry_is_needed(openapi, asyncapi):
    theirs = yaml.safe_load(shared("spec/openapi.yaml"))
    seed = read(shared("seeds/000_*.txt"))
    found = {*openapi_differences(openapi, theirs), *asyncapi_differences(asyncapi, seed)}
    unlisted = [str(it) for it in found if not any(covers(entry, it) for entry in LISTED)]
    assert sorted(unlisted) == []
    needless = [entry["where"] for entry in LISTED if not any(covers(entry, it) for it in found)]
    assert needless == []


def test_every_listed_difference_has_a_reason():
    assert all(set(entry) == {"where", "kind", "reason"} and entry["reason"] for entry in LISTED)


# --- the tool itself --------------------------------------------------------------------------------------


def differences(ours: object, theirs: object) -> Iterable[str]:
    schemas = {"Name": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}
    document = {"components": {"schemas": schemas}}
    return [str(it) for it in compare("x", Side(document, ours), Side(document, theirs))]


def test_spellings_that_mean_the_same_are_the_same():
    written = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert differences({"$ref": "#/components/schemas/Name"}, written) == []
    assert differences({"const": "a"}, {"type": "string", "enum": ["a"]}) == []
    assert (
        differences({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True})
        == []
    )
    assert differences({"allOf": [{"type": "string"}, {"description": "d"}]}, {"type": "string"}) == []
    suggested = {"type": "string", "anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string"}]}
    assert differences({"type": "string"}, suggested) == []


def test_every_kind_of_difference_is_found():
    def an_object(**properties: object) -> dict:
        return {"type": "object", "properties": properties}

    text, number = {"type": "string"}, {"type": "integer"}
    assert differences(text, number) == [
        "x: missing alternative (integer)",
        "x: extra alternative (string)",
    ]
    assert differences(number, {"type": "number"}) == ["x: type (integer for number)"]
    assert differences(an_object(a=text), an_object(b=text)) == [
        "x.b: missing property",
        "x.a: extra property",
    ]
    assert differences({**an_object(a=text), "required": ["a"]}, an_object(a=text)) == ["x.a: required"]
    assert differences({"enum": ["a", "b"]}, {"enum": ["b", "c"]}) == [
        "x: missing values (c)",
        "x: extra values (a)",
    ]
    assert differences({"type": "array", "items": text}, {"type": "array", "items": number}) == [
        "x[]: missing alternative (integer)",
        "x[]: extra alternative (string)",
    ]
    assert differences({**an_object(a=text), "additionalProperties": False}, an_object(a=text)) == [
        "x: closed"
    ]
