"""Objects with `patternProperties`: schemas for names that match a pattern."""

from collections.abc import Iterable
from functools import lru_cache

import jsonschema_rs

from tutti.workers.grammar.keywords import Json
from tutti.workers.grammar.regex import json_pattern


def with_patterns(schema: Json) -> Json:
    """Add the schemas of matching patterns to those of the named properties.

    JSON Schema requires both, but the engine's compiler applies only the property's own.
    """
    patterns = schema.get("patternProperties")
    if not patterns or "properties" not in schema:
        return schema
    named = {
        name: _all([item, *(patterns[it] for it in patterns if _matcher(it).is_valid(name))])
        for name, item in schema["properties"].items()
    }
    return schema | {"properties": named}


@lru_cache(maxsize=64)
def _matcher(pattern: str) -> jsonschema_rs.Validator:
    return text_validator(json_pattern(pattern).whole)


def text_validator(whole: str) -> jsonschema_rs.Validator:
    """Return a validator of text that matches the pattern as a whole.

    Its time grows only with the text's length.
    """
    schema = {"pattern": f"^(?:{whole})$"}
    return jsonschema_rs.validator_for(schema, pattern_options=jsonschema_rs.RegexOptions())


def _all(schemas: Iterable[Json | bool]) -> Json | bool:
    parts = list(schemas)
    return parts[0] if len(parts) == 1 else {"allOf": parts}
