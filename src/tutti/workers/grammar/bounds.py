"""Checks the bounds in a schema against what an answer can hold, and what a grammar may cost."""

from tutti.workers.grammar.keywords import Json
from tutti.workers.grammar.refused import Refused

_LONGEST_TOKEN = 128
"""The characters of the longest token of a vocabulary."""
_MOST_ITEMS = 10_000
"""The most for all `maxItems` and `minItems` together, because the engine's compiler writes out each item."""
_EXACT = 2**53
"""The largest integer that is exact in floating point, which the compiler computes in."""
_SIZE_PER_TOKEN = {"minItems": 1, "minProperties": 1, "minLength": _LONGEST_TOKEN}


class Bounds:
    """The bounds of one request.

    `tokens` is the most that the answer can have; a list item takes at least one.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._items = 0

    def apply(self, schema: Json, path: str) -> None:
        """Remove the bounds that no answer can reach from the schema.

        Raises Refused for impossible bounds.
        """
        for low, size in _SIZE_PER_TOKEN.items():
            high = low.replace("min", "max")
            self._lengths(schema, low, high, self._tokens * size, path)
        self._items += int(schema.get("maxItems", schema.get("minItems", 0)))
        if self._items > _MOST_ITEMS:
            raise Refused(f"its minItems and maxItems come to more than {_MOST_ITEMS}", path)
        _numbers(schema, path)

    def _lengths(self, schema: Json, low: str, high: str, most: int, path: str) -> None:
        for keyword in (low, high):
            if keyword in schema:
                schema[keyword] = int(schema[keyword])
        if schema.get(low, 0) > most:
            raise Refused(f"{low} is more than an answer of {self._tokens} tokens can hold", path)
        if schema.get(high, 0) > most:
            del schema[high]
        if schema.get(low, 0) > schema.get(high, most):
            raise Refused(f"{low} is above {high}", path)


def _numbers(schema: Json, path: str) -> None:
    """Move bounds beyond the exact integers to the largest one, which only narrows the schema.

    Raises Refused.
    """
    for low in ("minimum", "exclusiveMinimum"):
        if low in schema:
            schema[low] = max(schema[low], -_EXACT)
    for high in ("maximum", "exclusiveMaximum"):
        if high in schema:
            schema[high] = min(schema[high], _EXACT)
    for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        if abs(schema.get(keyword, 0)) > _EXACT:
            raise Refused(f"{keyword} is beyond the numbers that can be enforced", path)
    if "minimum" in schema and "maximum" in schema and schema["minimum"] > schema["maximum"]:
        raise Refused("minimum is above maximum", path)
