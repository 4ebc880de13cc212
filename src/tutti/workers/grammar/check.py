"""The last guard: whether a finished text keeps to what was to be enforced."""

import json
import sys
from typing import Any

import jsonschema_rs

from tutti.workers.grammar.objects import text_validator
from tutti.workers.grammar.regex import whole_pattern


def violation(text: str, schema: Any, pattern: str | None) -> str:
    """What is wrong; nothing where the text is as it has to be."""
    if pattern is not None:
        validator = text_validator(whole_pattern(pattern).whole)
        return "" if validator.is_valid(text) else "it does not match the pattern"
    try:
        value = json.loads(text, parse_float=_float)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    try:
        found = next(jsonschema_rs.validator_for(schema).iter_errors(value), None)
    except (ValueError, jsonschema_rs.ReferencingError):
        return ""  # a schema that has a grammar, but not for this library: nobody can judge the text
    if found is None:
        return ""
    return f"{found.message[:200]} (at /{'/'.join(map(str, found.instance_path))})"


def _float(text: str) -> float:
    """What is beyond the range of floats is still a number."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(text)))
