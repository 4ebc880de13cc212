from typing import Any

import pytest
from tests.support.engines import model

from tutti.base.errors import InvalidRequest
from tutti.engines.calls import ChatCall, Constraint
from tutti.features.text.calls import chat_calls, completion_calls
from tutti.features.text.messages import plain
from tutti.features.text.safety import categories
from tutti.features.text.schemas import ChatCompletionRequest, CompletionRequest

MODEL = model(context_length=100)
ADD = {"type": "function", "function": {"name": "add"}}


def calls(**fields: Any) -> list[ChatCall]:
    body = ChatCompletionRequest.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    )
    return chat_calls(body, MODEL, plain(body.messages))


def call(**fields: Any) -> ChatCall:
    return calls(**fields)[0]


def test_everything_that_steers_sampling_is_passed_on() -> None:
    given = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": -1.0,
        "frequency_penalty": 2.0,
        "seed": 3,
    }
    sampling = call(**given, logit_bias={"7": -100}).sampling
    assert {name: getattr(sampling, name) for name in given} == given
    assert sampling.logit_bias == {7: -100}


def test_seeds_follow_each_other_and_stay_within_64_bits() -> None:
    assert [it.sampling.seed for it in calls(n=3, seed=5)] == [5, 6, 7]
    assert [it.sampling.seed for it in calls(n=2)] == [None, None]
    assert all((it.sampling.seed or 0) < 2**63 for it in calls(n=128, seed=2**63 - 1))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"logprobs": 0}, 0),
        ({"logprobs": 5}, 5),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"logprobs": False, "top_logprobs": 3}, None),
    ],
)
def test_both_spellings_of_logprobs(fields: dict[str, Any], expected: int | None) -> None:
    assert call(**fields).logprobs == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint(kind="json_object")),
        ({"type": "json_object", "schema": {"a": 1}}, Constraint(kind="json_schema", schema={"a": 1})),
        ({"type": "json_schema", "schema": {"a": 1}}, Constraint(kind="json_schema", schema={"a": 1})),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"a": 1}}},
            Constraint(kind="json_schema", schema={"a": 1}),
        ),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, Constraint(kind="json_object")),
        ({"type": "regex", "pattern": "a|b"}, Constraint(kind="regex", pattern="a|b")),
    ],
)
def test_response_formats(wanted: dict[str, Any], expected: Constraint | None) -> None:
    assert call(response_format=wanted).constraint == expected


def test_reasoning_is_switched_by_what_templates_know() -> None:
    assert call().template_kwargs == {}
    assert call(reasoning={"enabled": False}).template_kwargs == {"enable_thinking": False, "thinking": False}
    both = call(reasoning={"enabled": True}, chat_template_kwargs={"thinking": False, "x": [1]})
    assert both.template_kwargs == {"enable_thinking": True, "thinking": False, "x": [1]}
    assert call(reasoning_effort="high").reasoning_effort == "high"


def test_tools_and_the_choice_among_them() -> None:
    assert call(tools=[ADD], tool_choice="none").tools == ()
    assert call(tools=[ADD]).tool_choice == "auto"
    assert call(tools=[ADD], tool_choice="required").tool_choice == "required"
    assert call(tools=[ADD], tool_choice="add").tool_choice == {"name": "add"}
    assert call(functions=[{"name": "add"}], function_call={"name": "add"}).tool_choice == {"name": "add"}
    assert call(functions=[{"name": "add"}]).tools[0]["function"]["name"] == "add"
    with pytest.raises(InvalidRequest, match="not one of the tools"):
        call(tools=[ADD], tool_choice="sub")


def test_max_tokens_beyond_the_context_is_an_error_or_cut() -> None:
    with pytest.raises(InvalidRequest, match="context length is 100 tokens"):
        call(max_tokens=101)
    cut = call(max_tokens=101, context_length_exceeded_behavior="truncate")
    assert (cut.max_tokens, cut.truncate) == (100, True)


def test_choices_of_prompts_are_in_order() -> None:
    body = CompletionRequest.model_validate({"model": "m", "prompt": ["a", "b"], "n": 2, "seed": 1})
    assert [(it.prompt, it.sampling.seed) for it in completion_calls(body, MODEL)] == [
        ("a", 1),
        ("a", 2),
        ("b", 1),
        ("b", 2),
    ]


def test_messages_take_openais_newest_shape() -> None:
    messages = [
        {"role": "developer", "content": "d"},
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
        {"role": "function", "name": "add", "content": "3"},
    ]
    system, said, result = call(messages=messages).messages
    assert system == {"role": "system", "content": "d"}
    assert said["content"] == ""
    assert said["tool_calls"][0]["id"] == result["tool_call_id"]
    assert (result["role"], result["name"]) == ("tool", "add")


@pytest.mark.parametrize(("sent", "given"), [("", "{}"), (" \n", "{}"), ('{"a": [1]}', '{"a": [1]}')])
def test_a_call_without_arguments_has_an_empty_object_of_them(sent: str, given: str) -> None:
    function = {"name": "g", "arguments": sent}
    message = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]}
    assert call(messages=[message]).messages[0]["tool_calls"][0]["function"]["arguments"] == given


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("safe", []),
        ("\n\nsafe\n", []),
        ("unsafe\nS1,S2", ["S1", "S2"]),
        ("unsafe", ["unsafe"]),
        ("Safety: Unsafe\nCategories: Violent", ["Violent"]),
        ("I think it is fine", None),
        ("", None),
    ],
)
def test_verdicts_are_read(text: str, expected: list[str] | None) -> None:
    assert categories(text) == expected
