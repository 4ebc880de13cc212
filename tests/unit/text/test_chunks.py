import json
from typing import Any

from tutti.engines.answers import Delta, Token, TopToken, Usage
from tutti.features.text import shapes
from tutti.features.text.bodies import Collected, chat
from tutti.features.text.chunks import ChatFrames, CompletionFrames, Ending, OpenAIChatFrames
from tutti.features.text.shapes import AnswerForm

TWO = (Token("He", 1, -0.5, (TopToken("He", -0.5, 1), TopToken("It", -1.0, 2))), Token("y", 3, -0.25))


def form(**fields: Any) -> AnswerForm:
    return AnswerForm(
        **{
            "id": "x",
            "created": 1,
            "model": "m",
            "openai": False,
            "logprobs": None,
            "seeds": [None],
            **fields,
        }
    )


def chunks(frame: bytes) -> list[Any]:
    events = frame.decode().split("\n\n")
    assert events.pop() == ""
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_several_tokens_of_one_read_are_a_chunk_each_in_one_frame() -> None:
    first, second = chunks(ChatFrames(form(logprobs="lists")).frame(0, Delta(text="Hey", tokens=TWO)))
    assert [it["choices"][0]["delta"]["content"] for it in (first, second)] == ["He", "y"]
    assert [it["choices"][0]["logprobs"] for it in (first, second)] == [-0.5, -0.25]
    assert first["choices"][0]["top_logprobs"] == {"He": -0.5, "It": -1.0}
    assert first["token"] == {"id": 1, "text": "He", "logprob": -0.5, "special": False}


def test_tokens_that_do_not_add_up_to_the_text_leave_it_to_the_last() -> None:
    pieces = chunks(CompletionFrames(form()).frame(0, Delta(text="é!", tokens=TWO)))
    assert [it["choices"][0]["text"] for it in pieces] == ["", "é!"]
    assert [it["token"]["id"] for it in pieces] == [1, 3]


def test_the_ending_is_on_the_last_chunk_only() -> None:
    delta = Delta(text="Hey", tokens=TWO, finish_reason="stop", prompt="p")
    ending = Ending(Usage(1, 2), ["careful"])
    first, last = chunks(ChatFrames(form()).frame(0, delta, ending))
    assert (first["usage"], first["choices"][0]["finish_reason"]) == (None, None)
    assert first["prompt"] == [{"text": "p"}]
    assert last["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["warnings"] == [{"message": "careful"}]
    assert "prompt" not in last


def test_openais_chunks_keep_tokens_together() -> None:
    frames = OpenAIChatFrames(form(openai=True, logprobs="content"))
    (chunk,) = chunks(frames.frame(0, Delta(text="Hey", tokens=TWO)))
    content = chunk["choices"][0]["logprobs"]["content"]
    assert [(it["token"], it["bytes"]) for it in content] == [("He", [72, 101]), ("y", [121])]
    assert [it["token"] for it in content[0]["top_logprobs"]] == ["He", "It"]


def test_a_thought_of_several_tokens_stays_a_thought() -> None:
    pieces = shapes.one_token_each(Delta(reasoning="Hey", tokens=TWO))
    assert [(piece.reasoning, piece.text) for piece in pieces] == [("He", ""), ("y", "")]


def test_pieces_of_calls_are_joined_in_a_whole_answer() -> None:
    collected = Collected()
    for piece in (
        {"index": 0, "id": "a", "name": "add", "arguments": ""},
        {"index": 0, "arguments": "{}"},
    ):
        collected.add(Delta(tool_calls=(shapes.ToolCall(**piece),)))  # type: ignore[arg-type]
    body = json.loads(chat(form(), [collected], Ending(Usage())))
    assert body["choices"][0]["message"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    ]
