import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.workers.grammar.refused import Refused
from tutti.workers.grammar.regex import json_pattern, whole_pattern


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("ab", "[a][b]"),
        ("^yes$|^no$", "(?:[y][e][s]|[n][o])"),
        (r"\Aa\Z", "[a]"),
        ("(?:ab)+?", "(?:[a][b]){1,}"),
        ("(?P<x>a)(?<y>b)", "(?:[a])(?:[b])"),
        ("a*b?c{2}d{2,}e{2,3}", "[a]{0,}[b]{0,1}[c]{2,2}[d]{2,}[e]{2,3}"),
        (r"\d\w", r"[0-9][0-9A-Z\x{5F}a-z]"),
        ("[]a-c^-]", r"[\x{2D}\x{5D}-\x{5E}a-c]"),
        (r"[\]\\]", r"[\x{5C}-\x{5D}]"),
        (r"é\u20ac\x41\u{1F600}", r"[\x{E9}][\x{20AC}][A][\x{1F600}]"),
        ("a||b", "(?:[a]||[b])"),
        ("(a*)*", "(?:[a]{0,}){0,}"),
        ("", ""),
    ],
)
def test_a_pattern_is_written_anew(pattern: str, written: str) -> None:
    assert whole_pattern(pattern).whole == written


def test_a_pattern_of_a_schema_may_match_anywhere() -> None:
    assert json_pattern("a|^b|c$|^d$").whole == "(?:(?s:.*)[a](?s:.*)|[b](?s:.*)|(?s:.*)[c]|[d])"


@pytest.mark.parametrize(
    "pattern",
    [
        "(a", "a)", "[a", "[z-a]", "*a", "a**", "a*?+", "a++", "a{2,1}", "a{", "a{x}", "a{,3}",
        "\\", r"\x4", r"\u{1", r"\u{}", r"\uD800", r"\bfoo", r"(a)\1", "a(?=b)", "a(?!b)", "(?<=a)b", "(?i)a",
        "(?P=x)", "a^b", "a$b", "(^a)", r"[^\d\D]", "[[:alpha:]]", r"\p{L}", r"\d-[\w-z]x[a-\d]",
        "(" * 100 + "a" + ")" * 100,
    ],
)  # fmt: skip
def test_what_no_grammar_can_say_is_refused(pattern: str) -> None:
    with pytest.raises(Refused):
        whole_pattern(pattern)


@pytest.mark.parametrize("count", ["100001", "1000000", "9" * 5000])
def test_too_many_repetitions_are_told_however_many(count: str) -> None:
    for bounds in (count, f"{count},", f"2,{count}"):
        with pytest.raises(Refused, match="more than 100000 repetitions"):
            whole_pattern(f"a{{{bounds}}}")


@pytest.mark.parametrize("letter", "dws")
def test_a_class_and_its_opposite_hold_in_every_dialect(letter: str) -> None:
    """What one dialect takes for a letter and another does not is in neither."""
    for escape in (letter, letter.upper()):
        ranges = whole_pattern(f"\\{escape}").whole
        python = re.sub(r"\\x\{([0-9A-F]+)\}", lambda it: f"\\U{int(it[1], 16):08X}", ranges)
        for character in ("5", "٣", "a", "é", "_", " ", "\u00a0", "-"):
            if re.fullmatch(python, character):
                assert re.fullmatch(f"\\{escape}", character)
                assert re.fullmatch(f"(?a:\\{escape})", character)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_is_refused(pattern: str) -> None:
    try:
        json_pattern(pattern)
    except Refused:
        return
    re.compile(pattern.replace("(?<", "(?P<"))
