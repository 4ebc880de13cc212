import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.base.errors import InvalidRequest
from tutti.engines.regex import regex_grammar


@pytest.mark.parametrize(
    ("pattern", "grammar"),
    [
        ("ab", "[a] [b]"),
        ("yes|no", "([y] [e] [s] | [n] [o])"),
        ("^yes$|^no$", "([y] [e] [s] | [n] [o])"),
        (r"\Aa\Z", "[a]"),
        ("(a|b)c", "(([a] | [b])) [c]"),
        ("(?:ab)+?", "([a] [b]){1,}"),
        ("(?P<x>a)(?<y>b)", "([a]) ([b])"),
        ("a*b?c{2}d{2,}e{2,3}", "[a]{0,} [b]{0,1} [c]{2,2} [d]{2,} [e]{2,3}"),
        (r"\d\w\s", r"[0-9] [0-9A-Z\x5Fa-z] [\x09-\x0D\x20]"),
        (r"[^\d]", r"[\x01-\x2F\x3A-\U0010FFFF]"),
        (r"[\D]", r"[\x01-\x2F\x3A-\U0010FFFF]"),
        (".", r"[\x01-\x09\x0B-\U0010FFFF]"),
        ("[]a-c^-]", r"[\x2D\x5D-\x5Ea-c]"),
        (r"[\]\\]", r"[\x5C-\x5D]"),
        (r"\.\/\-\"", r"[\x2E] [\x2F] [\x2D] [\x22]"),
        (r"é\u20ac\x41\U0001F600\u{1F600}", r"[\xE9] [\u20AC] [A] [\U0001F600] [\U0001F600]"),
        ("a||b", '([a] | "" | [b])'),
        ("", '""'),
    ],
)
def test_a_pattern_becomes_a_grammar(pattern: str, grammar: str) -> None:
    assert regex_grammar(pattern) == f"root ::= {grammar}\n"


@pytest.mark.parametrize(
    "pattern",
    [
        "(a", "a)", "[a", "[z-a]", "*a", "a**", "a*?+", "a++", "a{2,1}", "a{", "a{x}", "a{,3}",
        "\\", r"\x4", r"\u{1", r"\u{}", r"\uD800", r"\bfoo", r"(a)\1", "a(?=b)", "a(?!b)", "(?<=a)b", "(?i)a",
        "(?P=x)", "a^b", "a$b", "(^a)", "(a*)*", "(a?|b)+", "a{5000}", "(((a{999}){999}){999})",
        "(" * 100 + "a" + ")" * 100, "[[:alpha:]]", r"\p{L}", r"\d-[\w-z]x[a-\d]",
    ],
)  # fmt: skip
def test_what_no_grammar_can_say_is_the_callers_mistake(pattern: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        regex_grammar(pattern)
    assert refused.value.param == "response_format"


@pytest.mark.parametrize("count", ["1001", "100000", "1000000", "9" * 5000])
def test_too_many_repetitions_are_told_however_many(count: str) -> None:
    for bounds in (count, f"{count},", f"2,{count}"):
        with pytest.raises(InvalidRequest, match="more than 1000 repetitions"):
            regex_grammar(f"a{{{bounds}}}")


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_a_mistake(pattern: str) -> None:
    try:
        grammar = regex_grammar(pattern)
    except InvalidRequest:
        return
    assert grammar.startswith("root ::= ")
    assert "\0" not in grammar


@given(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20))
def test_escaped_text_is_taken_as_it_is(text: str) -> None:
    grammar = regex_grammar(re.escape(text))
    assert grammar.count("[") == len(text)
