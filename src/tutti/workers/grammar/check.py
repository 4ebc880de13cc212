"""The last check: does a finished text match the schema or pattern that was to be enforced?"""

import json
import sys
from typing import Any

import jsonschema_rs

from tutti.workers.grammar.objects import text_validator
from tutti.workers.grammar.regex import whole_pattern


def violation(text: str, schema: Any, pattern: str | None) -> str:
    """Return what is wrong with the text, or "" if it matches."""
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
        return ""  # the schema has a grammar, but this library cannot read it: the text cannot be judged
    if found is None:
        return ""
    return f"{found.message[:200]} (at /{'/'.join(map(str, found.instance_path))})"


def _float(text: str) -> float:
    """Return the number, or the largest float if it is beyond the range of floats: JSON allows it."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(text)))
