import json
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.api.text.conftest import CHAT, EMBEDDING, REASONER, Client, chat_body, events

from tutti.features.text.responses import ChatCompletionChunk, ChatCompletionResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ANSWER = TypeAdapter(ChatCompletionResponse)
CHUNK = TypeAdapter(ChatCompletionChunk)


def called(arguments: str) -> dict[str, Any]:
    """A message of the model that calls a tool."""
    call = {"id": "c1", "type": "function", "function": {"name": "g", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def text_of(chunks: list[Any], index: int = 0, field: str = "content") -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(field) or "" for choice in choices)


# --- shapes -----------------------------------------------------------------------------------------------


async def test_an_answer_is_as_the_contract_says(client: Client) -> None:
    answer = await client.chat("hello big world", seed=5)
    ANSWER.validate_python(answer, strict=True)
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == CHAT.name
    assert answer["prompt"] == []
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hello big world", "tool_calls": []}
    assert (choice["index"], choice["seed"], choice["finish_reason"]) == (0, 5, "eos")
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert "warnings" not in answer


async def test_chunks_are_as_the_contract_says(client: Client) -> None:
    chunks = await client.stream("hello big world", seed=5)
    for chunk in chunks:
        CHUNK.validate_python(chunk, strict=True)
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["choices"][0]["delta"]["role"] == "assistant"
        assert chunk["choices"][0]["seed"] == 5
    assert text_of(chunks) == "hello big world"
    assert len({chunk["id"] for chunk in chunks}) == 1
    *others, last = chunks
    assert all(it["usage"] is None and it["choices"][0]["finish_reason"] is None for it in others)
    assert last["choices"][0]["finish_reason"] == "eos"
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}


async def test_chunks_carry_their_token(client: Client) -> None:
    chunks = await client.stream("hello big")
    tokens = [chunk["token"] for chunk in chunks if "token" in chunk]
    assert [token["text"] for token in tokens] == ["hello", " big"]
    assert [chunk["choices"][0]["delta"].get("token_id") for chunk in chunks[:2]] == [
        token["id"] for token in tokens
    ]


async def test_openais_clients_get_openais_chunks(client: Client) -> None:
    options = {"stream_options": {"include_usage": True}}
    *chunks, last = await client.stream("hello big world", prefix="/openai/v1", **options)
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks] == ["assistant", None, None, None]
    assert text_of(chunks) == "hello big world"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 7
    chunks = await client.stream("hello", prefix="/openai/v1")
    assert all("usage" not in chunk for chunk in chunks)


async def test_the_answer_names_the_model_that_was_asked_for(client: Client) -> None:
    assert (await client.chat(model="meta-llama/Llama-3"))["model"] == "meta-llama/Llama-3"
    chunks = await client.stream(model="meta-llama/Llama-3")
    assert {chunk["model"] for chunk in chunks} == {"meta-llama/Llama-3"}


# --- parameters -------------------------------------------------------------------------------------------


async def test_max_tokens_and_its_other_name_cut_the_answer(client: Client) -> None:
    for field in ("max_tokens", "max_completion_tokens"):
        (choice,) = (await client.chat("one two three", **{field: 2}))["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")
    chunks = await client.stream("one two three", max_tokens=2)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", [" three", [" nothing", " three"], ["", " three"]])
async def test_stop_ends_the_text_before_it(client: Client, stop: Any) -> None:
    (choice,) = (await client.chat("one two three", stop=stop))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "stop")
    assert text_of(await client.stream("one two three", stop=stop)) == "one two"


async def test_the_same_seed_gives_the_same_text(client: Client) -> None:
    texts = [
        (await client.chat("hi", seed=seed, temperature=1.0))["choices"][0]["message"]["content"]
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_n_choices_have_following_seeds_and_share_the_prompt(client: Client) -> None:
    answer = await client.chat("hi", n=3, seed=7, temperature=1.0)
    assert [(it["index"], it["seed"]) for it in answer["choices"]] == [(0, 7), (1, 8), (2, 9)]
    assert len({it["message"]["content"] for it in answer["choices"]}) == 3
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 15, "total_tokens": 17}


async def test_n_choices_stream_together(client: Client) -> None:
    whole = await client.chat("hi", n=3, seed=7, temperature=1.0)
    for prefix in ("/v1", "/openai/v1"):
        chunks = await client.stream("hi", prefix=prefix, n=3, seed=7, temperature=1.0)
        for choice in whole["choices"]:
            assert text_of(chunks, choice["index"]) == choice["message"]["content"]
        finished = [it for chunk in chunks for it in chunk["choices"] if it["finish_reason"]]
        assert sorted(it["index"] for it in finished) == [0, 1, 2]
    assert [bool(it["usage"]) for it in await client.stream("hi", n=2)][-1] is True


async def test_many_choices_are_all_answered(client: Client) -> None:
    assert len((await client.chat("hi", n=128))["choices"]) == 128


async def test_logprobs_as_a_number_give_lists(client: Client) -> None:
    (choice,) = (await client.chat("hello big", logprobs=2))["choices"]
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["hello", " big"]
    assert len(logprobs["token_ids"]) == len(logprobs["token_logprobs"]) == 2
    assert logprobs["top_logprobs"]["hello"] == logprobs["token_logprobs"][0]
    chunks = await client.stream("hello big", logprobs=2)
    found = [chunk["choices"][0].get("logprobs") for chunk in chunks]
    assert found == [*logprobs["token_logprobs"], None]
    assert len(chunks[0]["choices"][0]["top_logprobs"]) == 2


async def test_logprobs_as_true_give_openais_content(client: Client) -> None:
    asked = {"prefix": "/openai/v1", "logprobs": True, "top_logprobs": 2}
    (choice,) = (await client.chat("hello big", **asked))["choices"]
    content = choice["logprobs"]["content"]
    assert [it["token"] for it in content] == ["hello", " big"]
    assert [len(it["top_logprobs"]) for it in content] == [2, 2]
    chunks = await client.stream("hello big", **asked)
    streamed = [it["choices"][0]["logprobs"] for it in chunks]
    assert [item for it in streamed if it for item in it["content"]] == content


async def test_echo_returns_the_prompt_and_its_logprobs(client: Client) -> None:
    answer = await client.chat("hello", echo=True)
    (prompt,) = answer["prompt"]
    assert "hello" in prompt["text"]
    assert "logprobs" not in prompt
    answer = await client.chat("hello", echo=True, logprobs=1)
    assert answer["prompt"][0]["logprobs"]["tokens"]
    first, *others = await client.stream("hello", echo=True)
    assert first["prompt"] == [prompt]
    assert all("prompt" not in chunk for chunk in others)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, "hi yes"),
        ({"type": "json_object"}, {"answer": "hi yes"}),
        ({"type": "json_object", "schema": {"type": "object", "required": ["a"]}}, {"a": {}}),
        ({"type": "json_schema", "schema": {"type": "object", "required": ["a"]}}, {"a": {}}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}}, 0),
        ({"type": "regex", "pattern": "(yes|no)"}, "yes"),
    ],
)
async def test_response_format_in_every_spelling(client: Client, wanted: Any, expected: Any) -> None:
    content = (await client.chat("hi yes", response_format=wanted))["choices"][0]["message"]["content"]
    assert content == expected or json.loads(content) == expected


async def test_what_does_not_fit_the_context_is_refused_or_truncated(client: Client) -> None:
    error = await client.refused(max_tokens=100_000)
    assert (error["param"], error["code"]) == ("max_tokens", "context_length_exceeded")
    error = await client.refused(max_tokens=8192)
    assert error["code"] == "context_length_exceeded"
    for limit in (8192, 100_000):
        answer = await client.chat("hi", max_tokens=limit, context_length_exceeded_behavior="truncate")
        assert answer["choices"][0]["message"]["content"] == "hi"


async def test_what_has_no_effect_here_is_accepted(client: Client) -> None:
    fields = {"compliance": "hipaa", "user": "u", "unknown": 1, "store": False, "stop": None, "tools": []}
    assert await client.chat("hi", **fields)


# --- tools ------------------------------------------------------------------------------------------------


async def test_a_call_is_answered_in_the_contracts_form(client: Client) -> None:
    answer = await client.chat('call:add {"a": 1}', tools=[ADD, WEATHER])
    ANSWER.validate_python(answer, strict=True)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert (call["type"], call["index"], bool(call["id"])) == ("function", 0, True)
    assert choice["message"]["content"] is None


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
async def test_parallel_calls_stream_in_pieces(client: Client, prefix: str) -> None:
    said = 'call:add {"a": 1} call:get_weather {"city": "Oslo"} call:add {"a": 2}'
    chunks = await client.stream(said, prefix=prefix, tools=[ADD, WEATHER])
    pieces = [
        piece for chunk in chunks for it in chunk["choices"] for piece in it["delta"].get("tool_calls", ())
    ]
    joined: dict[int, list[str]] = {}
    for piece in pieces:
        call = joined.setdefault(piece["index"], ["", "", ""])
        call[0] += piece.get("id") or ""
        call[1] += piece["function"].get("name") or ""
        call[2] += piece["function"]["arguments"]
    assert [(name, json.loads(arguments)) for _, name, arguments in joined.values()] == [
        ("add", {"a": 1}),
        ("get_weather", {"city": "Oslo"}),
        ("add", {"a": 2}),
    ]
    assert len({call_id for call_id, _, _ in joined.values()}) == 3
    assert [it["finish_reason"] for chunk in chunks for it in chunk["choices"]][-1] == "tool_calls"
    if prefix == "/v1":
        for chunk in chunks:
            CHUNK.validate_python(chunk, strict=True)


async def test_calls_written_as_text_are_found_when_tools_were_given(client: Client) -> None:
    said = 'Sure. <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    for tools, calls in (([ADD], 1), ([WEATHER], 0), ([], 0)):
        (choice,) = (await client.chat(said, tools=tools))["choices"]
        chunks = await client.stream(said, tools=tools)
        assert len(choice["message"]["tool_calls"]) == calls
        assert choice["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"]
        assert text_of(chunks) == choice["message"]["content"] == ("Sure. " if calls else said)


async def test_parallel_tool_calls_off_leaves_one(client: Client) -> None:
    said = 'call:add {"a": 1} call:add {"a": 2}'
    answer = await client.chat(said, tools=[ADD], parallel_tool_calls=False)
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", None),
        ("none", None),
        ("required", "add"),
        ("get_weather", "get_weather"),
        ({"type": "function", "function": {"name": "get_weather"}}, "get_weather"),
        (
            {"id": "", "type": "function", "index": 0, "function": {"name": "add", "arguments": ""}},
            "add",
        ),
    ],
)
async def test_tool_choice(client: Client, choice: Any, called: str | None) -> None:
    (answer,) = (await client.chat("hi", tools=[ADD, WEATHER], tool_choice=choice))["choices"]
    calls = answer["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ([called] if called else [])
    assert answer["finish_reason"] == ("tool_calls" if called else "eos")


async def test_no_tools_are_sent_with_tool_choice_none(client: Client) -> None:
    said = 'call:add {"a": 1}'
    (choice,) = (await client.chat(said, tools=[ADD], tool_choice="none"))["choices"]
    assert choice["message"]["content"] == said


async def test_functions_of_old_are_answered_in_kind(client: Client) -> None:
    fields = {"functions": [ADD["function"]], "function_call": {"name": "add"}}
    (choice,) = (await client.chat("hi", **fields))["choices"]
    assert choice["message"]["function_call"] == {"name": "add", "arguments": "{}"}
    assert choice["finish_reason"] == "function_call"
    chunks = await client.stream("hi", **fields)
    calls = [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks]
    assert "".join(call["name"] for call in calls if call) == "add"
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


async def test_the_conversation_goes_on_after_calls(client: Client) -> None:
    """Multi-step and multi-turn: what was answered is sent back as it came, by either client."""
    asked = {"role": "user", "content": 'call:get_weather {"city": "Oslo"}'}
    message = (await client.chat([asked], tools=[WEATHER]))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": '{"temp": 3}'}
    history = [asked, message, result, {"role": "user", "content": "and now?"}]
    answer = await client.chat(history, tools=[WEATHER])
    assert answer["choices"][0]["message"]["content"] == "and now?"
    for call in message["tool_calls"]:
        del call["index"]
    assert await client.chat(history, tools=[WEATHER])
    message = {"role": "assistant", "content": "fine", "tool_calls": [], "function_call": None}
    assert await client.chat([*history, message, {"role": "user", "content": "bye"}])


async def test_every_kind_of_message_is_taken(client: Client) -> None:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "content": "u", "name": "me"},
        {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
        {"role": "function", "name": "add", "content": "3"},
        called(""),
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "assistant", "content": [{"type": "text", "text": "three"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    assert (await client.chat(messages))["choices"][0]["message"]["content"] == "a\nb"


# --- reasoning --------------------------------------------------------------------------------------------


async def test_thoughts_are_split_from_the_answer(client: Client) -> None:
    said = "think: hm hm; yes"
    for model in (CHAT.name, REASONER.name):
        message = (await client.chat(said, model=model))["choices"][0]["message"]
        assert (message["reasoning"], message["content"]) == ("hm hm", "yes")
        chunks = await client.stream(said, model=model)
        assert (text_of(chunks, field="reasoning"), text_of(chunks)) == ("hm hm", "yes")


async def test_reasoning_options_warn_where_the_model_does_not_reason(client: Client) -> None:
    fields = {"reasoning": {"enabled": True}, "reasoning_effort": "low", "chat_template_kwargs": {"x": 1}}
    assert "warnings" not in await client.chat("hi", model=REASONER.name, **fields)
    (warning,) = (await client.chat("hi", **fields))["warnings"]
    assert "does not reason" in warning["message"]
    assert (await client.stream("hi", **fields))[-1]["warnings"] == [warning]


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"top_k": 2**31}, "top_k"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": "2"}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": 10**30}, "seed"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x"),
        ({"logit_bias": {"1": "a"}}, "logit_bias.1"),
        ({"stop": [1]}, "stop.0"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "nobody", "content": ""}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [called('{"l')]}, "messages.0.tool_calls.0.function.arguments"),
        ({"messages": [called("not json")]}, "messages.0.tool_calls.0.function.arguments"),
        ({"messages": [called("[1]")]}, "messages.0.tool_calls.0.function.arguments"),
        ({"messages": [called("{" * 100_000)]}, "messages.0.tool_calls.0.function.arguments"),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "5"}}]},
            "messages.0.function_call.arguments",
        ),
        ({"tools": [{"function": {"parameters": {}}}]}, "tools.0.function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": "sub"}, "tool_choice"),
        ({"tools": [ADD], "function_call": {"name": "sub"}}, "function_call"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "regex", "pattern": "("}}, "response_format.pattern"),
        (
            {"response_format": {"type": "regex", "pattern": f"a{{{'9' * 5000}}}"}},
            "response_format.pattern",
        ),
        ({"chat_template_kwargs": {"messages": 5}}, "chat_template_kwargs.messages"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"context_length_exceeded_behavior": "panic"}, "context_length_exceeded_behavior"),
        ({"model": EMBEDDING.name}, "model"),
    ],
)
async def test_a_wrong_field_is_named(client: Client, fields: dict[str, Any], param: str) -> None:
    error = await client.refused(**fields)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]


async def test_numbers_that_are_none_are_refused(client: Client) -> None:
    for number in ("NaN", "Infinity", "1e999"):
        body = json.dumps(chat_body("hi")).replace("{", f'{{"temperature": {number}, ', 1)
        response = await client.http.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert response.status_code == 400, number


async def test_an_unknown_model_is_not_found_streaming_or_not(client: Client) -> None:
    for stream in (False, True):
        response = await client.post("/v1/chat/completions", chat_body("hi", model="no/such", stream=stream))
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_engine_has_its_status(client: Client, stream: bool) -> None:
    response = await client.post("/v1/chat/completions", chat_body("[[error 400]] x", stream=stream))
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_integral_floats_are_integers(client: Client) -> None:
    response = await client.post("/v1/chat/completions", chat_body("a b c", max_tokens=2.0, stream=True))
    assert events(response)[-1]["usage"]["completion_tokens"] == 2
