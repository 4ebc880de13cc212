"""Schemas and patterns for property tests, and a writer that keeps to a grammar but else writes at random."""

import json
import random
import re
from typing import Any

import jsonschema_rs
from hypothesis import strategies as st
from llguidance import LLMatcher

from tutti.engines.calls import Constraint
from tutti.workers.grammar.compile import vocabulary
from tutti.workers.grammar.make import Make, Part, made

_STEPS = 400
_WORDS = ["a", "b", "ab", "x-1", 'a "b"', "c\\d", "é", "tab\t", "", "日本"]
_CLOSING = [b'"', b"}", b"]", b'"}', b'"]', b"}]", b"]}", b'"}]']


def written(grammar: str, seed: int) -> str | None:
    """Return some text that the grammar allows, or None if no end was found."""
    matcher = LLMatcher(
        vocabulary(), LLMatcher.grammar_from_lark(grammar.removeprefix("%llguidance {}")), log_level=0
    )
    chance = random.Random(seed)
    tokens: list[int] = []
    for step in range(_STEPS):
        bits = int.from_bytes(matcher.compute_bitmask(), "little")
        assert not matcher.is_error(), matcher.get_error()
        if matcher.is_stopped() or not bits:
            break
        if bits >> vocabulary().eos_token & 1 and chance.random() < 0.5:
            break
        token = _next(bits, chance, closing=step > 20)
        if token == vocabulary().eos_token:
            break
        tokens.append(token)
        matcher.consume_token(token)
        assert not matcher.is_error(), matcher.get_error()
    else:
        return None
    return vocabulary().decode_bytes(tokens).decode()


def _next(bits: int, chance: random.Random, *, closing: bool) -> int:
    if closing and chance.random() < 0.7:
        closers = [it for word in _CLOSING for it in vocabulary().tokenize_bytes(word)[:1] if bits >> it & 1]
        if closers:
            return chance.choice(closers)
    after = bits >> chance.randrange(bits.bit_length())
    return bits.bit_length() - after.bit_length() + (after & -after).bit_length() - 1


# --- patterns ---------------------------------------------------------------------------------------------

_ATOMS = st.one_of(
    st.sampled_from(
        [" ", "\t", "a", "b", "é", "日", "/", '"', "-", ".", "[a-c]", '["x]', r"\\", r"\"", r"\."]
    ),
    st.sampled_from([r"\t", r"\n", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"[^a\d]", r"[^\W]", r"[\\/]"]),
    st.sampled_from([r"[\]\[]", r"\x22", r"\u00e9", r"[^\"]"]),
)
_COUNTS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "{3}?"])


def _joined(parts: list[str]) -> str:
    return "".join(parts)


_SEQUENCES = st.lists(st.tuples(_ATOMS, _COUNTS).map("".join), min_size=1, max_size=4).map(_joined)
_GROUPS = st.recursive(
    _SEQUENCES,
    lambda inner: st.lists(
        st.one_of(
            inner,
            st.tuples(st.sampled_from(["(", "(?:", "(?P<n>"]), inner, _COUNTS).map(
                lambda it: f"{it[0]}{it[1]}){it[2]}"
            ),
            st.tuples(inner, inner).map(lambda it: f"(?:{it[0]}|{it[1]})"),
        ),
        min_size=1,
        max_size=2,
    ).map(_joined),
    max_leaves=4,
)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


patterns = st.one_of(
    _GROUPS,
    _GROUPS.map(lambda it: f"^{it}"),
    _GROUPS.map(lambda it: f"^{it}$"),
    st.tuples(_GROUPS, _GROUPS).map(lambda it: f"^{it[0]}|{it[1]}$"),
).filter(_compiles)

# --- schemas ----------------------------------------------------------------------------------------------

_names = st.sampled_from(["a", "b", "c", "x-y", 'q"t', "é"])
_values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(_WORDS)
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _with_type(kind: Any, fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for schemas with the type written down or not."""
    return st.tuples(fields, st.booleans()).map(
        lambda it: it[0] if it[1] and it[0] else {"type": kind, **it[0]}
    )


_numbers = _with_type(
    "number",
    _some(minimum=st.integers(-100, 3), maximum=st.integers(4, 2**63), exclusiveMinimum=st.integers(-9, 2)),
)
_integers = _some(
    minimum=st.integers(-(2**63), 3), exclusiveMaximum=st.integers(5, 10**20), multipleOf=st.integers(1, 7)
).map(lambda it: {"type": "integer", **it})
_lengths = _some(minLength=st.integers(0, 3), maxLength=st.one_of(st.integers(3, 6), st.just(2**31 - 1)))
_strings = st.one_of(
    _with_type("string", _lengths),
    _with_type("string", st.fixed_dictionaries({"pattern": patterns})),
    st.sampled_from(["date", "uuid", "ipv4", "email", "time"]).map(
        lambda it: {"type": "string", "format": it}
    ),
)
_leaves = st.one_of(
    _numbers,
    _integers,
    _strings,
    st.sampled_from(
        [{"type": "boolean"}, {"type": ["null", "string"]}, {"type": "null"}, {"const": 'a"b\\'}]
    ),
    st.lists(_values, min_size=1, max_size=4).map(lambda it: {"enum": it}),
    _values.map(lambda it: {"const": it}),
    st.just({"$ref": "#/$defs/node"}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _with_type(
        "object",
        st.tuples(
            _some(
                properties=st.dictionaries(_names, inner, max_size=3),
                required=st.lists(_names, max_size=2, unique=True),
                additionalProperties=st.one_of(st.booleans(), inner),
                maxProperties=st.integers(2, 4),
                minProperties=st.integers(0, 2),
            ),
            _some(
                patternProperties=st.sampled_from(
                    [{"^x-": {"type": "integer"}}, {r"[0-9]$": {"type": "null"}}]
                )
            ),
        ).map(lambda it: {**it[0], **it[1]}),
    )


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _with_type(
        "array",
        _some(
            items=inner,
            prefixItems=st.lists(inner, min_size=1, max_size=2),
            minItems=st.integers(0, 2),
            maxItems=st.one_of(st.integers(2, 4), st.just(2**31 - 1)),
        ),
    )


_NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}
schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        _objects(inner),
        _arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda it: {"anyOf": it}),
        st.lists(inner, min_size=1, max_size=2).map(lambda it: {"allOf": it}),
        st.lists(inner, min_size=2, max_size=3).map(lambda it: {"oneOf": it}),
    ),
    max_leaves=6,
).map(lambda it: {**it, "$defs": {"node": _NODE}})


def keeps(schema: dict[str, Any], text: str) -> str:
    """Return why the text breaks the schema, according to another library than the one that enforces it."""
    value = json.loads(text, parse_float=lambda it: max(-1e308, min(1e308, float(it))))
    found = next(jsonschema_rs.validator_for(schema).iter_errors(value), None)
    return "" if found is None else found.message


# --- constraints as engines get them ----------------------------------------------------------------------


def regex(pattern: str) -> Constraint:
    grammar = made(Make(1024, pattern=pattern, param="response_format.pattern")).grammar
    return Constraint(kind="regex", pattern=pattern, grammar=grammar)


def json_schema(schema: Any, **fields: Any) -> Constraint:
    found = made(Make(1024, [Part("response_format", schema, **fields)]))
    return Constraint(kind="json_schema", schema=found.schema, grammar=found.grammar)


def call_of(*tools: Any) -> Constraint:
    functions = [tool["function"] for tool in tools]
    parts = [Part("tools", function.get("parameters", {}), function["name"]) for function in functions]
    found = made(Make(1024, parts))
    return Constraint(kind="json_schema", schema=found.schema, grammar=found.grammar, calls=True)
