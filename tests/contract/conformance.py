"""Our API documents against the contract: what is named, required, typed and enumerated differently.

`python -m tests.contract.conformance ours.json ../shared/spec/openapi.yaml` prints the differences.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.contract.schemas import Difference, Side, compare
from tests.contract.seed import Seed

METHODS = ("get", "post", "put", "patch", "delete")

Json = dict[str, Any]


def operations(document: Json) -> dict[str, Json]:
    """By "METHOD /path"."""
    return {
        f"{method.upper()} {path}": item[method]
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


# --- OpenAPI ----------------------------------------------------------------------------------------------


def openapi_differences(ours: Json, theirs: Json) -> Iterator[Difference]:
    """Of the operations that both have: the list of gaps takes care of the others."""
    our_operations, their_operations = operations(ours), operations(theirs)
    for name in our_operations:
        if name not in their_operations:
            yield Difference(name, "extra operation")
            continue
        ours_here, theirs_here = our_operations[name], their_operations[name]
        yield from _operation(name, Side(ours, ours_here), Side(theirs, theirs_here))
    served = [operation for name, operation in their_operations.items() if name in our_operations]
    for name in sorted(_schemas_used(theirs, served) - ours["components"]["schemas"].keys()):
        yield Difference(f"schema {name}", "missing schema")


def _operation(name: str, ours: Side, theirs: Side) -> Iterator[Difference]:
    our, their = ours.schema, theirs.schema
    if our.get("operationId") != their.get("operationId"):
        yield Difference(name, "operation id", f"{our.get('operationId')} for {their.get('operationId')}")
    yield from _parameters(name, ours, theirs)
    yield from _contents(f"{name} request", _body(ours), _body(theirs))
    for status in sorted(our["responses"].keys() | their["responses"].keys()):
        where = f"{name} {status}"
        if status not in our["responses"]:
            yield Difference(where, "missing status")
        elif status not in their["responses"]:
            yield Difference(where, "extra status")
        else:
            ours_here, theirs_here = our["responses"][status], their["responses"][status]
            yield from _contents(where, Side(ours.document, ours_here), Side(theirs.document, theirs_here))


def _body(side: Side) -> Side:
    return Side(side.document, side.schema.get("requestBody", {}))


def _parameters(name: str, ours: Side, theirs: Side) -> Iterator[Difference]:
    our, their = (
        {(it["in"], it["name"]): it for it in side.schema.get("parameters", ())} for side in (ours, theirs)
    )
    for key in sorted(our.keys() | their.keys()):
        where = f"{name} {key[0]} {key[1]}"
        if key not in our:
            yield Difference(where, "missing parameter")
        elif key not in their:
            yield Difference(where, "extra parameter")
        else:
            if bool(our[key].get("required")) != bool(their[key].get("required")):
                yield Difference(where, "required" if our[key].get("required") else "not required")
            sides = Side(ours.document, our[key]["schema"]), Side(theirs.document, their[key]["schema"])
            yield from compare(where, *sides)


def _contents(where: str, ours: Side, theirs: Side) -> Iterator[Difference]:
    our, their = ours.schema.get("content", {}), theirs.schema.get("content", {})
    for kind in sorted(our.keys() | their.keys()):
        here = where if kind == "application/json" else f"{where} {kind}"
        if kind not in our:
            yield Difference(here, "missing content type")
        elif kind not in their:
            yield Difference(here, "extra content type")
        else:
            sides = Side(ours.document, our[kind]["schema"]), Side(theirs.document, their[kind]["schema"])
            yield from compare(here, *sides)


def _schemas_used(document: Json, root: Any) -> set[str]:
    found: set[str] = set()
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            name = str(value.get("$ref", "")).removeprefix("#/components/schemas/")
            if name and name not in found:
                found.add(name)
                waiting.append(document["components"]["schemas"][name])
        elif isinstance(value, list):
            waiting += value
    return found


# --- AsyncAPI ---------------------------------------------------------------------------------------------


def asyncapi_differences(ours: Json, seed: Seed) -> Iterator[Difference]:
    for path, channel in seed.channels.items():
        if path not in ours["channels"]:
            yield Difference(f"channel {path}", "missing channel")
            continue
        for direction, operation_id in channel.operation_ids.items():
            where = f"channel {path} {direction}"
            our = ours["channels"][path][direction]
            if our["operationId"] != operation_id:
                yield Difference(where, "operation id", f"{our['operationId']} for {operation_id}")
            if _messages(our["message"]) != channel.messages[direction]:
                yield Difference(where, "messages", ", ".join(_messages(our["message"])))
    for path in ours["channels"].keys() - seed.channels.keys():
        yield Difference(f"channel {path}", "extra channel")
    for message, name in seed.payloads.items():
        yield from _message(ours, seed, message, name)


def _messages(message: Json) -> list[str]:
    return [part["$ref"].split("/")[-1] for part in message.get("oneOf", [message])]


def _message(ours: Json, seed: Seed, message: str, name: str) -> Iterator[Difference]:
    where = f"message {message}"
    our = ours["components"]["messages"].get(message)
    if our is None:
        yield Difference(where, "missing message")
        return
    our_name = our["payload"]["$ref"].split("/")[-1]
    if our_name != name:
        yield Difference(where, "schema name", f"{our_name} for {name}")
    their_payload = {"$ref": f"#/components/schemas/{name}"}
    yield from compare(where, Side(ours, our["payload"]), Side(seed.document, their_payload))


def main() -> None:
    ours, theirs = Path(sys.argv[1]), Path(sys.argv[2])
    for difference in openapi_differences(json.loads(ours.read_text()), yaml.safe_load(theirs.read_text())):
        print(difference)


if __name__ == "__main__":
    main()
