"""Builds the engine's grammar from the schemas or the pattern that a client wants enforced."""

import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec

from tutti.workers.grammar.bounds import Bounds
from tutti.workers.grammar.compile import OneOf, json_grammar, regex_grammar
from tutti.workers.grammar.finite import ends
from tutti.workers.grammar.keywords import Json, is_list, is_object
from tutti.workers.grammar.refused import Refused
from tutti.workers.grammar.regex import whole_pattern
from tutti.workers.grammar.schema import Normaliser

_ONE_OF = "alternatives of a oneOf may match at once: write anyOf, give each its type, or do without `strict`"
_MIXED = ("allOf", "anyOf", "oneOf", "$ref", "patternProperties")


class Part(msgspec.Struct):
    """One of the schemas that a text may match.

    With a `name` the text is a call of that function, and the schema is that of its arguments. `aside` marks
    an alternative for our own engine only; other engines have their own way to allow it.
    """

    param: str
    schema: Any
    name: str | None = None
    strict: bool = False
    aside: bool = False


class Make(msgspec.Struct):
    """A request for the grammar of texts that match any of the parts, or the pattern.

    `tokens` is the most that a text may have.
    """

    tokens: int
    parts: list[Part] = []
    pattern: str | None = None
    param: str = ""


class Made(msgspec.Struct):
    """A finished grammar. `schema` is for engines that compile schemas themselves, and for the last check.

    `left_out` says what is not enforced.
    """

    grammar: str
    schema: Any = None
    left_out: list[str] = []


def made(wanted: Make) -> Made:
    """Build the grammar. Raises Refused if it is impossible."""
    if wanted.pattern is not None:
        try:
            return Made(regex_grammar(whole_pattern(wanted.pattern).whole))
        except Refused as refused:
            raise Refused(refused.reason, refused.path, wanted.param) from None
    request = Normaliser(Bounds(wanted.tokens))
    read = [_read(request, part) for part in wanted.parts]
    grammar, any_of = _compiled(request, wanted.parts, read)
    schema = _either([it for it, part in zip(read, wanted.parts, strict=True) if not part.aside])
    if request.definitions:
        schema |= {"$defs": request.definitions}
    if not any_of:
        return Made(grammar, schema, request.left_out)
    return Made(grammar, _relaxed(schema), [*request.left_out, "oneOf, which is taken for anyOf"])


def _compiled(request: Normaliser, parts: Sequence[Part], read: Sequence[Any]) -> tuple[str, bool]:
    """Return the grammar, and whether it treats oneOf as anyOf.

    If it cannot be compiled, each part is tried by itself, so that the error names the part.
    """
    try:
        return _compile(request, _either(read), strict=any(part.strict for part in parts))
    except Refused:
        for part, schema in zip(parts, read, strict=True):
            try:
                _compile(request, _either([schema]), strict=part.strict)
            except Refused as refused:
                raise Refused(refused.reason, refused.path, part.param) from None
        raise


def _compile(request: Normaliser, schema: Json, *, strict: bool) -> tuple[str, bool]:
    if not ends(schema, request.definitions):
        raise Refused("only a value without an end can match it")
    # With types that were only guessed, the compiler cannot say whether alternatives exclude one another.
    overlaps = request.chooses and request.guesses
    with contextlib.suppress(OneOf):
        if not overlaps:
            return json_grammar(schema, request.definitions, any_of=False), False
    if strict:
        raise Refused(_ONE_OF)
    return json_grammar(schema, request.definitions, any_of=True), True


def _either(schemas: Sequence[Any]) -> Json:
    if len(schemas) == 1 and is_object(schemas[0]):
        return schemas[0]
    return {"anyOf": list(schemas)}


def _read(request: Normaliser, part: Part) -> Any:
    if part.name is None:
        return request.read(part.schema, strict=part.strict, param=part.param)
    arguments = request.read(_parameters(part.schema), strict=part.strict, param=part.param)
    return {
        "type": "object",
        "properties": {"name": {"const": part.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _parameters(schema: Any) -> Any:
    """Return the schema of a function's arguments. Names that it does not list are forbidden by default.

    Without any schema the only value is `{}`.
    """
    given: Any = schema or {"type": "object", "properties": {}}
    if not is_object(given) or "properties" not in given or any(key in given for key in _MIXED):
        return given
    return {"type": "object", "additionalProperties": False, **given}


def _relaxed(schema: Any) -> Any:
    """Return the schema with each oneOf replaced by an anyOf."""
    if is_list(schema):
        return [_relaxed(it) for it in schema]
    if not is_object(schema):
        return schema
    given: Json = {
        key: value if key in ("enum", "const") else _relaxed(value) for key, value in schema.items()
    }
    if "oneOf" not in given:
        return given
    either = {"anyOf": given.pop("oneOf")}
    return given | ({"allOf": [*given.get("allOf", ()), either]} if "anyOf" in given else either)
