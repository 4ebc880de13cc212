import itertools

from hypothesis import given
from hypothesis import strategies as st

from tutti.engines.answers import Delta, Token, ToolCall, Usage
from tutti.features.text.choice import ChoiceReader
from tutti.features.text.thinking import Thinking
from tutti.features.text.toolparse import ToolParser

END = Delta(finish_reason="stop", usage=Usage(1, 2))
TEXT = '<think>\nI add.\n</think>\nSo:\n<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def read(choice: ChoiceReader, *deltas: Delta) -> list[Delta]:
    return [piece for delta in deltas for piece in choice.read(delta)]


def both() -> ChoiceReader:
    return ChoiceReader(Thinking(anywhere=True), ToolParser(["add"]))


@given(st.lists(st.integers(1, len(TEXT) - 1), unique=True))
def test_thoughts_and_calls_are_found_however_the_text_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(TEXT)]
    texts = [TEXT[start:end] for start, end in itertools.pairwise(places)]
    tokens = [Token(text, index) for index, text in enumerate(texts)]
    deltas = [Delta(text=text, tokens=(token,)) for text, token in zip(texts, tokens, strict=True)]
    pieces = read(both(), *deltas, END)
    assert "".join(piece.reasoning for piece in pieces) == "I add."
    assert "".join(piece.text for piece in pieces) == "So:\n"
    calls = [call for piece in pieces for call in piece.tool_calls]
    assert [call.name for call in calls if call.name] == ["add"]
    assert "".join(call.arguments for call in calls) == '{"a": 1}'
    assert [token for piece in pieces for token in piece.tokens] == tokens
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == ["tool_calls"]
    assert pieces[-1].usage == END.usage


def test_plain_text_passes_as_it_is() -> None:
    delta = Delta(text="hi", tokens=(Token("hi", 1),))
    assert ChoiceReader().read(delta) == (delta,)
    thinker = ChoiceReader(Thinking(anywhere=False))
    assert thinker.read(delta) == [delta]
    assert thinker.read(delta)[0] is delta


def test_a_whole_answer_in_one_delta_is_split_too() -> None:
    whole = Delta(text=TEXT, finish_reason="eos", usage=Usage(1, 2), prompt="p")
    pieces = read(both(), whole)
    assert [piece.prompt for piece in pieces if piece.prompt is not None] == ["p"]
    assert pieces[-1].finish_reason == "tool_calls"


def test_a_call_cut_short_is_a_call_with_what_there_is_and_the_reason_length() -> None:
    written = '<tool_call>{"name": "add", "arguments": {"a": 1'
    for size in range(len("<tool"), len(written)):
        pieces = read(both(), Delta(text=written[:size], finish_reason="length"))
        assert "".join(piece.text for piece in pieces) == ""
        calls = [call for piece in pieces for call in piece.tool_calls]
        assert [call.name for call in calls if call.name] == (["add"] if '"add"' in written[:size] else [])
        _, _, arguments = written[:size].partition('"arguments": ')
        assert "".join(call.arguments for call in calls) == arguments
        assert pieces[-1].finish_reason == "length"


def test_json_cut_short_that_is_no_call_is_text() -> None:
    for text in ('{"na', "a < b <to", '{"name": "Ann", "age": 4', "```json\n[1"):
        pieces = read(both(), Delta(text=text, finish_reason="length"))
        assert "".join(piece.text for piece in pieces) == text
    forced = ChoiceReader(None, ToolParser(["add"], forced=True))
    assert read(forced, Delta(text='{"na', finish_reason="length"))[-1].text == ""


def test_a_whole_thought_without_its_beginning_is_a_thought() -> None:
    (thought, said) = read(
        ChoiceReader(Thinking(anywhere=True)), Delta(text="Hm.</think>\nYes", finish_reason="stop")
    )
    assert (thought.reasoning, said.text) == ("Hm.", "Yes")


def test_a_whole_answer_that_begins_with_a_mention_is_no_thought() -> None:
    text = "<think> is a tag."
    pieces = read(ChoiceReader(Thinking(anywhere=False)), Delta(text=text, finish_reason="stop"))
    assert "".join(piece.text for piece in pieces) == text


def test_calls_of_the_engine_get_ids_and_the_reason_of_calls() -> None:
    native = Delta(tool_calls=(ToolCall(0, "", "add", ""), ToolCall(1, "x", "add", "{}")))
    first, *_, last = read(ChoiceReader(), native, END)
    assert [call.id.startswith("call_") or call.id == "x" for call in first.tool_calls] == [True, True]
    assert last.finish_reason == "tool_calls"


def test_legacy_functions_get_one_call_and_their_own_reason() -> None:
    native = Delta(tool_calls=(ToolCall(0, "a", "add", "{}"), ToolCall(1, "b", "add", "{}")))
    first, *_, last = read(ChoiceReader(legacy=True), native, END)
    assert len(first.tool_calls) == 1
    assert last.finish_reason == "function_call"


def test_the_prompt_comes_at_once_even_if_the_text_is_held_back() -> None:
    (piece,) = read(both(), Delta(text="<thi", prompt="p", prompt_tokens=(Token("p"),)))
    assert (piece.prompt, piece.text, len(piece.prompt_tokens)) == ("p", "", 1)
