import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutti.engines.answers import ToolCall
from tutti.features.text.toolparse import JsonEnd, ToolParser

NAMES = ("get_weather", "add")
WEATHER = '{"name": "get_weather", "arguments": {"city": "Oslo {\\"x\\"}"}}'
ADD = '{"name": "add", "parameters": {"a": [1, 2]}}'
DEFINITION = '{"name": "add", "description": "Adds", "parameters": {"type": "object"}}'
TAGGED = '<name>add</name>\n<arguments>{"a": [1, 2]}</arguments>'
CITY = ("get_weather", {"city": 'Oslo {"x"}'})
SUM = ("add", {"a": [1, 2]})

FRAGMENTS = st.sampled_from(
    [
        WEATHER,
        ADD,
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "```json\n",
        "```",
        "[TOOL_CALLS]",
        "<|python_tag|>",
        "[",
        "]",
        ",",
        "{",
        '{"name": ',
        '"add"',
        "add[ARGS]",
        "<name>add</name>",
        "<arguments>",
        '<arguments>{"a": [1, 2]}',
        "</arguments>",
        "<name>",
        "<na",
        "\n{",
        "\n[",
        DEFINITION,
        "text",
        " ",
        "\n",
        '{"a": 1}',
    ]
)
CALLS = st.sampled_from(
    [WEATHER, ADD, f"[{ADD}]", TAGGED, f"<tool_call>{ADD}</tool_call>", f"```json\n{ADD}\n```"]
)
TEXTS = st.lists(FRAGMENTS, max_size=8).map("".join)


def parse(pieces: list[str]) -> tuple[str, list[tuple[str, object]]]:
    parser = ToolParser(NAMES)
    found = [item for piece in pieces for item in parser.feed(piece)] + parser.finish()
    text = "".join(item for item in found if isinstance(item, str))
    return text, [(call.name, read(call.arguments)) for call in joined(found, parser.count)]


def joined(found: list[str | ToolCall], count: int) -> list[ToolCall]:
    """The calls with all of their arguments; their first pieces have an id and a name, the others neither."""
    pieces = [item for item in found if isinstance(item, ToolCall)]
    first = [piece for piece in pieces if piece.name]
    assert [call.index for call in first] == list(range(count))
    assert all(piece.id.startswith("call_") if piece.name else not piece.id for piece in pieces)
    return [
        msgspec.structs.replace(
            call, arguments="".join(piece.arguments for piece in pieces if piece.index == call.index)
        )
        for call in first
    ]


def read(arguments: str) -> object:
    """What a fragment cut off, or wrote wrongly, stays as it is."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


@given(TEXTS, st.lists(st.integers(0, 400)))
def test_how_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert parse(pieces) == parse([text]) == parse(list(text))


@given(st.text("ab{[<\n T"), CALLS, st.text("ab .\n"))
def test_a_call_on_a_line_of_its_own_is_found_after_any_text(before: str, call: str, after: str) -> None:
    before = f"a {before}\n"
    text, calls = parse(list(f"{before}{call}\n{after}"))
    assert (text.split(), len(calls)) == (f"{before}{after}".split(), 1)


@given(TEXTS.filter(lambda text: WEATHER not in text and ADD not in text) | st.text())
def test_what_is_no_call_passes_unchanged(text: str) -> None:
    passed, calls = parse(list(text))
    assert calls or passed == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<tool_call>\n{WEATHER}\n</tool_call>", ("", [CITY])),
        (f"\n<tool_call>{WEATHER}</tool_call>\n<tool_call>{ADD}</tool_call>\n", ("", [CITY, SUM])),
        (f"I will look.\n<tool_call>{WEATHER}</tool_call>", ("I will look.\n", [CITY])),
        (f"<tools>\n{WEATHER}\n</tools>", ("", [CITY])),
        (f"<tool_call>{WEATHER}", ("", [CITY])),
        (WEATHER, ("", [CITY])),
        (f"{WEATHER}\n{ADD}", ("", [CITY, SUM])),
        (f"{WEATHER}; {ADD}", ("", [CITY, SUM])),
        (f"[{WEATHER}, {ADD}]", ("", [CITY, SUM])),
        (f"```json\n{WEATHER}\n```", ("", [CITY])),
        (f"```json\n{WEATHER}\n{ADD}\n```", ("", [CITY, SUM])),
        (f"```\n[{WEATHER}]\n```\n", ("", [CITY])),
        (f"Sure:\n```json\n{WEATHER}\n```", ("Sure:\n", [CITY])),
        (f"<|python_tag|>{ADD}", ("", [SUM])),
        (f"[TOOL_CALLS][{WEATHER}, {ADD}]", ("", [CITY, SUM])),
        ('[TOOL_CALLS]add[ARGS]{"a": [1, 2]}[TOOL_CALLS]add{"a": [1, 2]}', ("", [SUM, SUM])),
        ('{"type": "function", "function": {"name": "add", "arguments": "{}"}}', ("", [("add", {})])),
        ('{"name": "add"}', ("", [("add", {})])),
        (f"{WEATHER}\n\nDone.", ("Done.", [CITY])),
        (f"Here is the call:\n{WEATHER}", ("Here is the call:\n", [CITY])),
        (f"Here:\n\n{WEATHER}\n{ADD}\nDone.", ("Here:\n\nDone.", [CITY, SUM])),
        (f"Both:\n[{WEATHER}, {ADD}]", ("Both:\n", [CITY, SUM])),
        (f"Here:\n```json\n{WEATHER}\n```\nDone.", ("Here:\n\nDone.", [CITY])),
        (f"<tools>\n{DEFINITION}\n</tools>\n{ADD}", (f"<tools>\n{DEFINITION}\n</tools>\n", [SUM])),
        (TAGGED, ("", [SUM])),
        (f"{TAGGED}\n{TAGGED}", ("", [SUM, SUM])),
        (f"I call: {TAGGED}.", ("I call: .", [SUM])),
        ('<name> add </name> <arguments> {"a": [1, 2]}', ("", [SUM])),
    ],
)
def test_calls_are_found_in_the_shapes_that_models_write(text: str, expected: object) -> None:
    assert parse(list(text)) == parse([text]) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "other", "arguments": {}}',
        '{"answer": 42}',
        f"Text first, then {WEATHER}",
        "```python\nadd(1)\n```",
        '<tool_call>{"name": "add", "argum',
        "[link](x) and [TOOL_CALLS]",
        '{\n  "people": [\n    {"name": "add", "arguments": {}}\n  ]\n}',
        'A person:\n{"name": "Ann", "arguments": {}}',
        f"You gave me:\n{DEFINITION}",
        '{"type": "function", "function": {"name": "add", "description": "Adds"}}',
        "<name>other</name><arguments>{}</arguments>",
        "<name>add</name><args>{}</args>",
        "<name>Ann</name>",
    ],
)
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    assert parse(list(text)) == parse([text]) == (text, [])


def test_text_is_held_back_only_while_it_may_be_a_call() -> None:
    parser = ToolParser(NAMES)
    assert parser.feed("A <") == ["A "]
    assert parser.feed("b") == ["<b"]
    assert parser.feed(" ```js") == [" "]
    assert parser.feed("x") == ["```", "jsx"]
    assert parser.feed(" <name>ad") == [" "]
    assert parser.feed("am") == ["<name>", "adam"]
    assert parser.feed('\n{"names') == ["\n", "{", '"names']
    assert ToolParser(NAMES).feed('{"name": "other"') == ["{", '"name": "other"']
    assert ToolParser(NAMES).feed('{"ans') == ["{", '"ans']


@pytest.mark.parametrize(
    "before", ["", "<tool_call>\n", "```json\n", "[", '{"type": "function", "function": ']
)
@pytest.mark.parametrize("key", ["arguments", "parameters"])
def test_arguments_are_told_as_they_are_written(before: str, key: str) -> None:
    parser = ToolParser(NAMES)
    assert parser.feed(f'{before}{{"name": "add", "{key}": ') == []
    first, piece = parser.feed('{"a": "b')
    assert isinstance(first, ToolCall)
    assert (first.name, first.arguments, piece) == ("add", "", ToolCall(0, arguments='{"a": "b'))
    assert parser.feed("\n\\") == [ToolCall(0, arguments="\\u000a\\")]
    assert parser.feed('"}"}') == [ToolCall(0, arguments='"}"}')]


def test_what_is_written_twice_at_once_is_two_calls() -> None:
    text, calls = parse([f"[{WEATHER}, {WEATHER}]\n"])
    assert (text.strip(), calls) == ("", [CITY, CITY])


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_the_end_of_json_is_found_at_its_end(value: object) -> None:
    text = json.dumps([value], ensure_ascii=False)
    end = JsonEnd()
    assert [end.find(text[:size], 0) for size in range(len(text))] == [None] * len(text)
    assert end.find(text + "]]", 0) == len(text)
