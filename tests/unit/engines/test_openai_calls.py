"""Calls as servers stream them, and as clients have to be able to join them."""

import json
from typing import Any

import msgspec
import pytest

from tutti.engines.openai import StreamReader
from tutti.engines.openai_answers import ToolCallPart
from tutti.engines.openai_calls import CallReader


def _part(arguments: Any = None, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


def _joined(*chunks: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    """As clients do: by the index, text added to text."""
    reader, calls = CallReader(), dict[int, list[str]]()
    pieces = [piece for chunk in chunks for piece in reader.read(_parts(chunk))]
    for piece in (*pieces, *reader.finish(cut_off=False)):
        call = calls.setdefault(piece.index, ["", "", ""])
        for place, text in enumerate((piece.id, piece.name, piece.arguments)):
            call[place] += text
    assert list(calls) == list(range(len(calls)))
    return [(call_id, name, json.loads(arguments)) for call_id, name, arguments in calls.values()]


def _parts(chunk: list[dict[str, Any]]) -> list[ToolCallPart]:
    return msgspec.convert(chunk, list[ToolCallPart])


BOTH = [("A", "f", {"a": 1}), ("B", "f", {"a": 2})]


@pytest.mark.parametrize(
    "chunks",
    [
        [[_part('{"a": 1}', name="f", id="A", index=0)], [_part('{"a": 2}', name="f", id="B", index=0)]],
        [[_part('{"a": 1}', name="f", id="A")], [_part('{"a": 2}', name="f", id="B")]],
        [[_part('{"a": 1}', name="f", id="A"), _part('{"a": 2}', name="f", id="B")]],
        [
            [_part('{"a": ', name="f", id="A")],
            [_part("1}")],
            [_part('{"a":', name="f", id="B")],
            [_part("2}")],
        ],
        [
            [_part("", name="f", id="A", index=0), _part("", name="f", id="B", index=1)],
            [_part('{"a":', index=0)],
            [_part('{"a": 2}', index=1)],
            [_part(" 1}", index=0)],
        ],
        [
            [_part('{"a":', name="f", id="A", index=0)],
            [_part(" 1", name="f", id="A", index=0)],
            [_part("}", name="f", id="A", index=0)],
            [_part('{"a": 2}', name="f", id="B", index=7)],
        ],
        [
            [_part(id="A", index=0)],
            [_part('{"a": 1}', name="f", index=0)],
            [_part({"a": 2}, name="f", id="B")],
        ],
    ],
)
def test_two_calls_are_two_whatever_the_server_makes_of_indexes(chunks: list[list[dict[str, Any]]]) -> None:
    assert _joined(*chunks) == BOTH


def test_without_ids_a_name_after_whole_arguments_is_the_next_call() -> None:
    chunks = [[_part('{"a": 1}', name="f", index=0)], [_part(name="g", index=0)], [_part('{"a"', name="f")]]
    assert _joined(*chunks, [_part(": 2}", name="f")]) == [
        ("", "f", {"a": 1}),
        ("", "g", {}),
        ("", "f", {"a": 2}),
    ]


def test_an_id_is_given_to_one_call_only() -> None:
    chunk = [_part("{}", name="f", id="A", index=0), _part("{}", name="g", id="A", index=1)]
    assert _joined(chunk) == [("A", "f", {}), ("", "g", {})]


@pytest.mark.parametrize("arguments", [None, "", " "])
def test_a_call_without_arguments_has_an_empty_object(arguments: str | None) -> None:
    assert _joined([_part(arguments, name="now", id="A", index=0)]) == [("A", "now", {})]


def test_arguments_that_max_tokens_cut_stay_as_they_are() -> None:
    reader = CallReader()
    assert [piece.arguments for piece in reader.read(_parts([_part("", name="f", id="A")]))] == [""]
    assert reader.finish(cut_off=True) == ()


def _event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]}).encode() + b"\n\n"


def test_a_stream_whose_calls_share_an_index_is_read_as_two_calls() -> None:
    one, two = (_part(text, name="f", id=name, index=0) for name, text in (("A", '{"a":"x"}'), ("B", "")))
    stream = _event({"tool_calls": [one]}) + _event({"tool_calls": [two]}) + _event({}, "tool_calls")
    pieces = [
        call for delta in StreamReader().feed(stream + b"data: [DONE]\n\n") for call in delta.tool_calls
    ]
    assert [(call.index, call.id, call.arguments) for call in pieces] == [
        (0, "A", '{"a":"x"}'),
        (1, "B", ""),
        (1, "", "{}"),
    ]
