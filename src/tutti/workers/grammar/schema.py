"""Normalises clients' JSON Schemas for the compiler: the same meaning or a narrower one, with fewer keywords.

References point into one table of definitions, types that are only implied are written down, bounds that no
answer can reach are removed. What cannot be enforced is refused (`strict`), or left out and reported.
"""

from typing import Any
from urllib.parse import unquote

from tutti.workers.grammar.bounds import Bounds
from tutti.workers.grammar.keywords import (
    FORMATS,
    KINDS,
    LIMITS,
    LISTS,
    MAPS,
    NOT_ENFORCED,
    NUMBERS,
    TYPES,
    WITHOUT_EFFECT,
    Json,
    inferred_types,
    is_list,
    is_number,
    is_object,
)
from tutti.workers.grammar.objects import with_patterns
from tutti.workers.grammar.refused import Refused
from tutti.workers.grammar.regex import json_pattern

_MAX_SCHEMAS = 20_000
_MAX_DEPTH = 64
_KEPT = ("const", "description", "title")


class Normaliser:
    """Normalises all schemas of one request, which share the table of definitions.

    `guesses` is True once a type was inferred from other keywords, `chooses` once there is a oneOf with
    several alternatives, and `left_out` lists the keywords that are not enforced.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.definitions: Json = {}
        self.left_out: list[str] = []
        self.guesses = False
        self.chooses = False
        self._bounds = bounds
        self._count = 0

    def read(self, root: Any, *, strict: bool, param: str) -> Any:
        """Return the schema, normalised. Raises Refused. `param` names the request's field in errors."""
        document = _Document(self, root, strict=strict, param=param)
        try:
            schema = document.schema(root, "", 0)
            document.read_definitions()
        except Refused as refused:
            raise Refused(refused.reason, refused.path, param) from None
        return schema

    def count(self, path: str) -> None:
        self._count += 1
        if self._count > _MAX_SCHEMAS:
            raise Refused("it is too large", path)

    def bounded(self, schema: Json, path: str) -> None:
        self._bounds.apply(schema, path)


class _Document:
    """One schema document, into which its references point."""

    def __init__(self, request: Normaliser, root: Any, *, strict: bool, param: str) -> None:
        self._request = request
        self._root = root
        self._strict = strict
        self._param = param
        self._names: dict[str, str] = {}
        self._waiting: list[tuple[str, Any]] = []

    def read_definitions(self) -> None:
        """Normalise the definitions, in a loop: they may refer to one another in chains of any length."""
        while self._waiting:
            reference, target = self._waiting.pop()
            name = self._names[reference]
            self._request.definitions[name] = self.schema(target, reference.lstrip("#"), 0)

    def schema(self, schema: Any, path: str, depth: int) -> Any:
        """Return a schema inside the document, normalised. Raises Refused."""
        self._request.count(path)
        if isinstance(schema, bool):
            return schema
        if not is_object(schema):
            raise Refused("a schema is an object or a boolean", path)
        if depth > _MAX_DEPTH:
            raise Refused(f"it is nested deeper than {_MAX_DEPTH}", path)
        given = _modern(schema)
        _check_kinds(given, path)
        self._leave_out(given, path)
        found = {key: given[key] for key in (*_KEPT, "enum", "required", "pattern") if key in given}
        found |= {key: given[key] for key in (*LIMITS, *NUMBERS) if key in given}
        found |= self._types(given, path)
        self._request.chooses |= len(given.get("oneOf", ())) > 1
        if given.get("format") in FORMATS:
            found["format"] = given["format"]
        self._nested(given, found, path, depth)
        self._request.bounded(found, path)
        return with_patterns(_in_order(given, found))

    def _types(self, given: Json, path: str) -> Json:
        kinds = given.get("type")
        for kind in kinds if is_list(kinds) else [kinds]:
            if "type" in given and (not isinstance(kind, str) or kind not in TYPES):
                raise Refused(f"there is no type {kind!r}", path)
        if "type" in given:
            return {"type": kinds}
        if "enum" in given or "const" in given or "$ref" in given or not (inferred := inferred_types(given)):
            return {}
        self._request.guesses = True
        return {"type": inferred if len(inferred) > 1 else inferred[0]}

    def _nested(self, given: Json, found: Json, path: str, depth: int) -> None:
        for key in LISTS:
            if key in given:
                found[key] = [
                    self.schema(item, f"{path}/{key}/{index}", depth + 1)
                    for index, item in enumerate(given[key])
                ]
        for key in MAPS:
            if key in given:
                found[key] = {
                    name: self.schema(item, f"{path}/{key}/{name}", depth + 1)
                    for name, item in given[key].items()
                }
        for key in ("items", "additionalProperties"):
            if key in given:
                found[key] = self.schema(given[key], f"{path}/{key}", depth + 1)
        if "$ref" in given:
            found["$ref"] = self._redirected(given["$ref"], path)

    def _redirected(self, reference: str, path: str) -> str:
        """Return the reference into the table of definitions, and queue its target to be read into it."""
        if reference not in self._names:
            target = self._target(reference, path)
            name = self._names[reference] = self._new_name(reference)
            self._request.definitions[name] = True  # until it is read
            self._waiting.append((reference, target))
        return f"#/$defs/{self._names[reference]}"

    def _new_name(self, reference: str) -> str:
        words = "".join(it if it.isalnum() else "_" for it in reference.rpartition("/")[2]) or "root"
        taken = self._request.definitions
        return words if words not in taken else f"{words}_{len(taken)}"

    def _target(self, reference: str, path: str) -> Any:
        value = self._root
        if reference != "#" and not reference.startswith("#/"):
            raise Refused(f"{reference!r} is not a reference into the same schema", path)
        for step in reference.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if is_list(value) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            elif is_object(value) and step in value:
                value = value[step]
            else:
                raise Refused(f"{reference!r} leads nowhere", path)
        return value

    def _leave_out(self, given: Json, path: str) -> None:
        for key in list(given):
            if key in NOT_ENFORCED and given[key] not in WITHOUT_EFFECT.get(key, ()):
                self._left_out(key, path)
        if "format" in given and given["format"] not in FORMATS:
            self._left_out(f"format {given['format']!r}", path)
        for key in _uncounted(given):
            self._left_out(key, path)
            del given[key]
        for key in ("pattern", "patternProperties"):
            for pattern in [given[key]] if isinstance(given.get(key), str) else given.get(key, ()):
                _check_pattern(pattern, f"{path}/{key}")

    def _left_out(self, keyword: str, path: str) -> None:
        if self._strict:
            raise Refused(f"{keyword} cannot be enforced; leave it out, or do without `strict`", path)
        self._request.left_out.append(f"{keyword} at {path or '/'} of `{self._param}`")


def _uncounted(given: Json) -> list[str]:
    """Return the limits of an object's size that cannot be enforced.

    Names that are not in the schema may come twice, and the compiler does not count optional names, except
    for a choice of one.
    """
    least, most, required = (
        given.get("minProperties", 0),
        given.get("maxProperties"),
        given.get("required", ()),
    )
    optional = any(name not in required for name in given.get("properties", ()))
    of_one = given.get("additionalProperties") is False and least <= 1 and most in (None, 1)
    if optional and not (of_one and "patternProperties" not in given):
        return [key for key in ("minProperties", "maxProperties") if key in given]
    return ["minProperties"] if least > len(required) + 1 else []


def _modern(schema: Json) -> Json:
    """Rewrite lists of items and exclusive bounds of older drafts in the keywords of draft 2020-12."""
    given = dict(schema)
    if isinstance(given.get("items"), list):
        given["prefixItems"] = given.pop("items")
        if "additionalItems" in given:
            given["items"] = given["additionalItems"]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(given.get(exclusive), bool) and given.pop(exclusive) and bound in given:
            given[exclusive] = given.pop(bound)
    return given


def _check_kinds(given: Json, path: str) -> None:
    for keyword, kind in KINDS.items():
        value = given.get(keyword)
        if keyword in given and (not isinstance(value, kind) or isinstance(value, bool)):
            raise Refused(f"{keyword} has a value of a wrong kind", path)
    for keyword in ("enum", "anyOf", "oneOf", "type"):
        if given.get(keyword) == []:
            raise Refused(f"{keyword} is empty, so nothing can match it", path)
    if not all(isinstance(name, str) for name in given.get("required", ())):
        raise Refused("required is a list of names", path)
    for keyword in LIMITS:
        if keyword in given and (given[keyword] < 0 or given[keyword] != int(given[keyword])):
            raise Refused(f"{keyword} is not a whole number", path)
    if is_number(given.get("multipleOf")) and given["multipleOf"] <= 0:
        raise Refused("multipleOf is not above 0", path)


def _check_pattern(pattern: str, path: str) -> None:
    try:
        written = json_pattern(pattern)
    except Refused as refused:
        raise Refused(refused.reason, path) from None
    if written.padding and path.endswith("/patternProperties"):
        raise Refused("a pattern of names with a quotation mark or a backslash cannot be enforced", path)


def _in_order(given: Json, found: Json) -> Json:
    """Return the keywords in the client's order, which decides the order of names in an answer."""
    return {key: found[key] for key in (*given, *found) if key in found}
