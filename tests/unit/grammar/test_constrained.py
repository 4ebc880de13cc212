"""Text that is written under a grammar keeps to its schema or pattern, for schemas and patterns at random."""

import json
import re
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.support.grammars import keeps, patterns, schemas, written

from tutti.workers.grammar.make import Make, Part, made
from tutti.workers.grammar.refused import Refused

some = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def _grammar(**fields: Any) -> str:
    try:
        return made(Make(tokens=256, **fields)).grammar
    except Refused:
        assume(False)
        raise


@some
@given(patterns, st.integers(0, 9))
def test_text_matches_the_pattern_as_a_whole(pattern: str, seed: int) -> None:
    text = written(_grammar(pattern=pattern, param="response_format.pattern"), seed)
    assume(text is not None)
    assert re.fullmatch(pattern, text or "")


@some
@given(patterns, st.integers(0, 9))
def test_a_string_matches_its_pattern_somewhere(pattern: str, seed: int) -> None:
    schema = {"type": "string", "pattern": pattern}
    text = written(_grammar(parts=[Part("response_format", schema, strict=True)]), seed)
    assume(text is not None)
    assert re.search(pattern, json.loads(text or ""))


@some
@given(schemas, st.integers(0, 9))
def test_a_value_keeps_to_its_schema(schema: dict[str, Any], seed: int) -> None:
    text = written(_grammar(parts=[Part("response_format", schema, strict=True)]), seed)
    assume(text is not None)
    assert not keeps(schema, text or "")
