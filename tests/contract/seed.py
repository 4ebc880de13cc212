"""Reads the AsyncAPI text of seed 000, whose indentation was lost, as far as its parts can be told apart."""

import re
from itertools import pairwise
from typing import Any, NamedTuple

_REF = re.compile(r"'#/components/(?:messages|schemas)/(\w+)'")
_VALUES = re.compile(r"(?:enum: \[|const: )([^\]]*)\]?")
_KEYWORDS = {"items", "oneOf", "properties", "required", "additionalProperties", "description", "enum"}


class Channel(NamedTuple):
    operation_ids: dict[str, str]
    """By publish and subscribe."""
    messages: dict[str, list[str]]


class Seed(NamedTuple):
    channels: dict[str, Channel]
    payloads: dict[str, str]
    """The schema of each message."""
    document: dict[str, Any]
    """An OpenAPI document with the schemas in it."""


def read(text: str) -> Seed:
    lines = [line.strip() for line in text.splitlines()]
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith("asyncapi:")) :]
    channels_at, components_at = lines.index("channels:"), lines.index("components:")
    messages_at = lines.index("messages:", components_at)
    schemas_at = lines.index("schemas:", messages_at)
    return Seed(
        _channels(lines[channels_at + 1 : components_at]),
        _payloads(lines[messages_at + 1 : schemas_at]),
        {"components": {"schemas": _schemas(lines[schemas_at + 1 :])}},
    )


def _channels(lines: list[str]) -> dict[str, Channel]:
    channels: dict[str, Channel] = {}
    direction = ""
    for line in lines:
        if re.fullmatch(r"/[\w/]+:", line):
            channel = channels[line.rstrip(":")] = Channel({}, {})
        elif line in ("publish:", "subscribe:"):
            direction = line.rstrip(":")
        elif line.startswith("operationId:"):
            channel.operation_ids[direction] = line.split(": ")[1]
        elif match := _REF.search(line):
            channel.messages.setdefault(direction, []).append(match[1])
    return channels


def _payloads(lines: list[str]) -> dict[str, str]:
    payloads: dict[str, str] = {}
    name = ""
    for line in lines:
        if line.startswith("name: "):
            name = line.removeprefix("name: ")
        elif match := _REF.search(line):
            payloads[name] = match[1]
    return payloads


def _schemas(lines: list[str]) -> dict[str, Any]:
    blocks: dict[str, list[str]] = {}
    for line, following in pairwise([*lines, ""]):
        if re.fullmatch(r"[A-Z]\w+:", line) and following.startswith(("type:", "description:")):
            block = blocks[line.rstrip(":")] = []
        elif blocks:
            block.append(line)
    return {name: _object(block) for name, block in blocks.items()}


def _object(lines: list[str]) -> dict[str, Any]:
    start = lines.index("properties:")
    properties: dict[str, list[str]] = {}
    nested: dict[str, str] = {}
    name = ""
    for line in lines[start + 1 :]:
        key, _, value = line.partition(":")
        if re.fullmatch(r"\w+", key) and value.strip() in ("", "{}") and key not in _KEYWORDS:
            if "properties:" in properties.get(name, ()):  # the one nested object has one property
                nested[key] = name
            name = key
            properties[name] = []
        else:
            properties[name].append(line)
    schema: dict[str, Any] = {
        "type": "object",
        "required": [line.removeprefix("- ") for line in lines[:start] if line.startswith("- ")],
        "properties": {name: _property(body) for name, body in properties.items()},
    }
    for name, parent in nested.items():
        schema["properties"][parent]["properties"] = {name: schema["properties"].pop(name)}
    return schema


def _property(lines: list[str]) -> dict[str, Any]:
    types = [match[1] for line in lines if (match := re.fullmatch(r"(?:- )?type: '?(\w+)'?", line))]
    members = [{"$ref": f"#/components/schemas/{match[1]}"} for line in lines if (match := _REF.search(line))]
    values = [value for line in lines if (match := _VALUES.fullmatch(line)) for value in match[1].split(", ")]
    if "oneOf:" in lines:
        arrays = [t for t in types if t == "array"]  # whose items follow as another type
        members += [{"type": name} for name in (types[: -len(arrays)] if arrays else types)]
    elif types:
        members = [{"type": types[0], **({"items": members[0]} if members else {})}]
    if values:
        members[0]["enum"] = values
    return {"oneOf": members} if members else {}
