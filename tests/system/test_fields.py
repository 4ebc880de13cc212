"""Every request field of the two text operations does what is said of it, from HTTP to llama.cpp and back.

SmolLM2 writes most texts, being the fastest; Qwen2.5 Coder knows tools. What a model would say is hardly
ever counted on: texts are compared, or a grammar makes the model write what is to be read.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from tests.support.server import Server, running_server
from tests.support.weights import QWEN, SMOLLM2

from tutti.catalog.catalog import shipped_models

Json = dict[str, Any]

PROMPT = "Once upon a time"
LOOP = "no no no no no no no no no no no no"
ENDLESS = {"0": -100, "2": -100}  # the ends that SmolLM2 knows
LIMIT = 30  # tokens, where a request sets none
SLOTS = 8
CONTEXT = 8192
NARROW = [{"temperature": 0}, {"top_k": 1}, {"top_p": 0.0001}, {"min_p": 1}]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

pytestmark = pytest.mark.timeout(180)


def tool(name: str, argument: str) -> Json:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string", "maxLength": 8}},
        "required": [argument],
    }
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER, TIME = tool("get_weather", "city"), tool("get_time", "place")
PERSON = {
    "type": "object",
    "properties": {"name": {"enum": ["Ann", "Bo"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    smol = msgspec.structs.replace(shipped_models()[SMOLLM2], options={"default_max_tokens": LIMIT})
    with running_server([smol, QWEN]) as server:
        yield server


def post(server: Server, path: str, body: Json) -> httpx.Response:
    return server.client.post(f"/v1/{path}", json=body)


def complete(server: Server, **fields: Any) -> Json:
    body = {"model": SMOLLM2, "prompt": PROMPT, "temperature": 0, "max_tokens": 12, **fields}
    return answered(server, "completions", body)


def talk(server: Server, text: str = "Tell me a story.", **fields: Any) -> Json:
    messages = [{"role": "user", "content": text}]
    body = {"model": SMOLLM2, "messages": messages, "temperature": 0, "max_tokens": 12, **fields}
    return answered(server, "chat/completions", body)


def answered(server: Server, path: str, body: Json) -> Json:
    """A streamed answer has its chunks, the choices made of them (text, finish_reason, token ids)."""
    if not body.get("stream"):
        response = post(server, path, body)
        assert response.status_code == 200, response.text
        return response.json()
    with server.client.stream("POST", f"/v1/{path}", json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return {"chunks": [json.loads(item) for item in data]}


def texts(answer: Json) -> list[str]:
    """Of all choices, by index."""
    if "chunks" not in answer:
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return [it["text"] if "text" in it else it["message"]["content"] or "" for it in choices]
    joined: dict[int, str] = {}
    for choice in (choice for chunk in answer["chunks"] for choice in chunk["choices"]):
        joined[choice["index"]] = joined.get(choice["index"], "") + (choice["delta"]["content"] or "")
    return [joined[index] for index in sorted(joined)]


def reason(answer: Json) -> str:
    last = answer["chunks"][-1] if "chunks" in answer else answer
    return last["choices"][0]["finish_reason"]


def calls(answer: Json) -> list[tuple[str, Json]]:
    if "chunks" in answer:
        found = [
            call for chunk in answer["chunks"] for call in chunk["choices"][0]["delta"].get("tool_calls", ())
        ]
        found = list(joined_calls(found).values())
    else:
        found = [call["function"] for call in answer["choices"][0]["message"]["tool_calls"]]
    return [(function["name"], json.loads(function["arguments"])) for function in found]


def joined_calls(pieces: list[Json]) -> dict[int, Json]:
    joined: dict[int, Json] = {}
    for piece in pieces:
        whole = joined.setdefault(piece["index"], {"name": "", "arguments": ""})
        whole["name"] += piece["function"]["name"]
        whole["arguments"] += piece["function"]["arguments"]
    return joined


def tokens(server: Server, **fields: Any) -> list[int]:
    """Ids of a completion's tokens."""
    return complete(server, logprobs=1, **fields)["choices"][0]["logprobs"]["token_ids"]


# --- ends -------------------------------------------------------------------------------------------------


@BOTH
def test_stop_ends_the_text_before_it(server: Server, stream: bool) -> None:
    (full,) = texts(complete(server))
    stop = full.split()[3]
    answer = complete(server, stop=["never there", stop], stream=stream)
    assert texts(answer) == [full[: full.index(stop)]]
    assert reason(answer) == "stop"
    (said,) = texts(talk(server))
    assert texts(talk(server, stop=said[4:9], stream=stream)) == [said[: said.index(said[4:9])]]


@BOTH
def test_max_tokens_ends_with_length(server: Server, stream: bool) -> None:
    for answer in (complete(server, max_tokens=3, stream=stream), talk(server, max_tokens=3, stream=stream)):
        assert reason(answer) == "length"
        assert (answer["chunks"][-1] if stream else answer)["usage"]["completion_tokens"] == 3


def test_without_max_tokens_an_answer_ends_where_the_model_is_set_to(server: Server) -> None:
    for ask in (complete, talk):
        answer = ask(server, max_tokens=None, logit_bias=ENDLESS)
        assert reason(answer) == "length"
        assert answer["usage"]["completion_tokens"] == LIMIT


@pytest.mark.parametrize("max_tokens", [CONTEXT - 1, CONTEXT + 1])
def test_what_exceeds_the_context_is_an_error_or_truncated(server: Server, max_tokens: int) -> None:
    body = {
        "model": SMOLLM2,
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": max_tokens,
        "response_format": {"type": "regex", "pattern": "yes"},
    }
    for behavior in ({}, {"context_length_exceeded_behavior": "error"}):
        refused = post(server, "chat/completions", body | behavior)
        assert refused.status_code == 400
        assert str(CONTEXT) in refused.json()["error"]["message"]
    truncated = post(server, "chat/completions", body | {"context_length_exceeded_behavior": "truncate"})
    assert truncated.json()["choices"][0]["message"]["content"] == "yes"


# --- sampling ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("narrow", NARROW, ids=lambda fields: next(iter(fields)))
def test_what_leaves_one_token_gives_the_greedy_text(server: Server, narrow: Json, stream: bool) -> None:
    assert texts(complete(server, **{"temperature": 1.9, **narrow}, stream=stream)) == texts(complete(server))


def test_a_high_temperature_without_it_does_not(server: Server) -> None:
    assert len({texts(complete(server, temperature=1.9))[0] for _ in range(3)}) > 1


@pytest.mark.parametrize("field", ["repetition_penalty", "presence_penalty", "frequency_penalty"])
def test_a_penalty_makes_a_text_repeat_itself_less(server: Server, field: str) -> None:
    def repeated(ids: list[int]) -> int:
        return len(ids) - len(set(ids))

    looping = {"prompt": LOOP, "max_tokens": 20}
    assert repeated(tokens(server, **looping, **{field: 2})) < repeated(tokens(server, **looping))


def test_a_bias_removes_a_token_or_forces_one(server: Server) -> None:
    (first,) = tokens(server, max_tokens=1)
    assert tokens(server, max_tokens=1, logit_bias={str(first): -100}) != [first]
    assert tokens(server, max_tokens=3, logit_bias={"1000": 100}) == [1000] * 3
    said = talk(server, max_tokens=2, logit_bias={"1000": 100}, logprobs=1)["choices"][0]["logprobs"]
    assert said["token_ids"] == [1000] * 2


@BOTH
def test_the_same_seed_gives_the_same_text_and_another_one_another(server: Server, stream: bool) -> None:
    hot = {"temperature": 1, "max_tokens": 20}
    first = texts(complete(server, **hot, seed=7))
    assert texts(complete(server, **hot, seed=7, stream=stream)) == first
    assert texts(complete(server, **hot, seed=8, stream=stream)) != first


# --- choices and what is told of them ---------------------------------------------------------------------


@BOTH
def test_n_may_exceed_the_slots(server: Server, stream: bool) -> None:
    answer = complete(server, n=SLOTS + 2, max_tokens=5, temperature=1.5, stream=stream)
    found = texts(answer)
    assert len(found) == SLOTS + 2
    assert len(set(found)) > 1
    usage = (answer["chunks"][-1] if stream else answer)["usage"]
    assert usage["completion_tokens"] <= 5 * (SLOTS + 2)
    assert len(texts(talk(server, n=SLOTS + 2, max_tokens=2, stream=stream))) == SLOTS + 2


def test_choices_are_numbered(server: Server) -> None:
    answer = talk(server, n=3, max_tokens=2, seed=5, temperature=1)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    several = complete(server, prompt=["One", "Two"], n=2, max_tokens=1)
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]


def test_echo_gives_the_prompt(server: Server) -> None:
    answer = complete(server, echo=True, max_tokens=1)
    assert [piece["text"] for piece in answer["prompt"]] == [PROMPT]
    (piece,) = talk(server, "Hi", echo=True, max_tokens=1)["prompt"]
    assert piece["text"].endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    streamed = complete(server, echo=True, max_tokens=3, stream=True)["chunks"]
    assert [chunk.get("prompt", [{}])[0].get("text") for chunk in streamed] == [PROMPT] + [None] * (
        len(streamed) - 1
    )


def test_logprobs_in_togethers_shape(server: Server) -> None:
    for answer in (complete(server, logprobs=2), talk(server, logprobs=2)):
        logprobs = answer["choices"][0]["logprobs"]
        assert "".join(logprobs["tokens"]) == texts(answer)[0]
        assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["token_ids"]) == 12
        assert all(value <= 0 for value in logprobs["token_logprobs"])
        assert set(logprobs["tokens"]) <= set(logprobs["top_logprobs"])  # greedy


def test_logprobs_in_openais_shape(server: Server) -> None:
    answer = talk(server, logprobs=True, top_logprobs=3)
    content = answer["choices"][0]["logprobs"]["content"]
    assert "".join(item["token"] for item in content) == texts(answer)[0]
    for item in content:
        assert item["top_logprobs"][0]["token"] == item["token"]
        assert len(item["top_logprobs"]) == 3
        assert bytes(item["bytes"]).decode() == item["token"]


def test_streamed_logprobs_come_with_their_tokens(server: Server) -> None:
    chunks = talk(server, logprobs=2, stream=True)["chunks"]
    told = [chunk["choices"][0] for chunk in chunks if "token" in chunk]
    assert len(told) == 12
    assert all(choice["logprobs"] <= 0 and len(choice["top_logprobs"]) == 2 for choice in told)


# --- forms ------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
        {"type": "json_schema", "schema": PERSON},
        {"type": "json_object", "schema": PERSON},
    ],
    ids=["json_schema.schema", "schema", "json_object"],
)
def test_an_answer_keeps_to_its_schema(server: Server, form: Json, stream: bool) -> None:
    answer = talk(server, max_tokens=60, response_format=form, stream=stream, temperature=1)
    person = json.loads(texts(answer)[0])
    assert person["name"] in ("Ann", "Bo")
    assert 1 <= person["age"] <= 99


def test_a_json_object_is_one(server: Server) -> None:
    answer = talk(
        server, "A person as JSON", model=QWEN, max_tokens=100, response_format={"type": "json_object"}
    )
    assert texts(answer)[0].startswith("{")
    if reason(answer) != "length":
        assert isinstance(json.loads(texts(answer)[0]), dict)


@pytest.mark.parametrize("tools", [{}, {"tools": [WEATHER]}], ids=["alone", "with tools"])
@BOTH
def test_an_answer_matches_its_pattern(server: Server, stream: bool, tools: Json) -> None:
    form = {"type": "regex", "pattern": r"(red|green) [0-9]{2}"}
    (text,) = texts(talk(server, response_format=form, stream=stream, model=QWEN, **tools))
    assert re.fullmatch(form["pattern"], text)


def test_text_is_the_plain_answer(server: Server) -> None:
    assert texts(talk(server, response_format={"type": "text"})) == texts(talk(server))


# --- tools ------------------------------------------------------------------------------------------------


@BOTH
def test_a_required_tool_is_called(server: Server, stream: bool) -> None:
    answer = talk(server, tools=[WEATHER, TIME], tool_choice="required", max_tokens=60, stream=stream)
    ((name, arguments),) = calls(answer)
    assert list(arguments) == [{"get_weather": "city", "get_time": "place"}[name]]
    assert reason(answer) == "tool_calls"


@BOTH
def test_the_named_tool_is_called(server: Server, stream: bool) -> None:
    choice = {"type": "function", "function": {"name": "get_time"}}
    answer = talk(server, tools=[WEATHER, TIME], tool_choice=choice, max_tokens=60, stream=stream)
    ((name, arguments),) = calls(answer)
    assert (name, list(arguments)) == ("get_time", ["place"])


def test_with_none_no_tool_is_called_nor_told_of(server: Server) -> None:
    plain = talk(server, "The weather in Paris?", model=QWEN)
    answer = talk(server, "The weather in Paris?", model=QWEN, tools=[WEATHER], tool_choice="none")
    assert (texts(answer), calls(answer)) == (texts(plain), [])


@BOTH
def test_in_auto_a_model_that_knows_tools_calls_one(server: Server, stream: bool) -> None:
    fields = {"model": QWEN, "tools": [WEATHER], "max_tokens": 60, "stream": stream}
    answer = talk(server, "What's the weather in Paris?", **fields)
    assert calls(answer) == [("get_weather", {"city": "Paris"})]
    assert reason(answer) == "tool_calls"


CALL = '{"name": "get_weather", "arguments": {"city": "%s"}}'
FORMS = {
    "tags": "<tool_call>\n{0}\n</tool_call>\n<tool_call>\n{1}\n</tool_call>",
    "lines": "Two calls:\n{0}\n{1}",
    "fence": "Both:\n```json\n[{0}, {1}]\n```",
}


@pytest.mark.parametrize(("form", "stream"), [("tags", True), ("lines", False), ("fence", True)])
def test_parallel_calls_are_read(server: Server, form: str, stream: bool) -> None:
    """A grammar makes the model write them."""
    pattern = (
        re.escape(FORMS[form].format(CALL % "Oslo", CALL % "Rome")).replace(r"\ ", " ").replace("\\\n", "\n")
    )
    fields = {"tools": [WEATHER], "response_format": {"type": "regex", "pattern": pattern}, "max_tokens": 120}
    answer = talk(server, "Go", **fields, stream=stream)
    assert calls(answer) == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert reason(answer) == "tool_calls"
    if not stream:
        assert calls(talk(server, "Go", **fields, parallel_tool_calls=False)) == calls(answer)[:1]


def test_tool_and_function_messages_reach_the_model(server: Server) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    modern = [
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "purple rain"},
    ]
    legacy = [
        {"role": "assistant", "content": "", "function_call": function},
        {"role": "function", "name": "get_weather", "content": "purple rain"},
    ]
    question = {"role": "user", "content": "The weather in Paris?"}
    prompts = [
        talk(server, model=QWEN, messages=[question, *turns], tools=[WEATHER], echo=True, max_tokens=1)[
            "prompt"
        ]
        for turns in (modern, legacy)
    ]
    assert prompts[0] == prompts[1]
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}' in prompts[0][0]["text"]
    assert "<tool_response>\npurple rain\n</tool_response>" in prompts[0][0]["text"]


def test_a_legacy_function_is_called(server: Server) -> None:
    fields = {"functions": [TIME["function"]], "function_call": {"name": "get_time"}, "max_tokens": 60}
    answer = talk(server, **fields)
    assert answer["choices"][0]["message"]["function_call"]["name"] == "get_time"
    assert reason(answer) == "function_call"


def test_fields_of_reasoning_are_taken_by_models_without_it(server: Server) -> None:
    fields = {"reasoning": {"enabled": False}, "reasoning_effort": "low", "chat_template_kwargs": {"x": 1}}
    assert texts(talk(server, **fields)) == texts(talk(server))


# --- streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [complete, talk], ids=["completion", "chat"])
def test_a_stream_says_what_a_whole_answer_says_in_the_contracts_chunks(server: Server, ask: Any) -> None:
    streamed, whole = ask(server, stream=True), ask(server)
    chunks = streamed["chunks"]
    assert texts(streamed) == texts(whole)
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + [
        "length"
    ]
    assert [chunk["usage"] for chunk in chunks] == [None] * (len(chunks) - 1) + [whole["usage"]]
    told = [chunk for chunk in chunks if chunk["choices"][0]["delta"]["content"]]
    assert len(told) == 12
    assert all(chunk["choices"][0]["delta"]["token_id"] == chunk["token"]["id"] for chunk in told)
    assert "".join(chunk["token"]["text"] for chunk in told) == texts(whole)[0]
    if ask is complete:
        assert all({"id", "text", "logprob", "special"} == set(chunk["token"]) for chunk in chunks)


def busy(server: Server) -> int:
    """Requests that llama.cpp's slots work on, as it says itself."""
    return sum(
        slot["is_processing"]
        for pid in server.engines()
        for slot in httpx.get(f"http://127.0.0.1:{port_of(pid)}/slots", timeout=60).json()
    )


def port_of(pid: int) -> str:
    argv = psutil.Process(pid).cmdline()
    return argv[argv.index("--port") + 1]


def until_busy(server: Server, count: int) -> None:
    give_up_at = time.monotonic() + 15  # a third of what the answer would take
    while busy(server) != count:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_client_that_leaves_a_stream_frees_the_slot(server: Server) -> None:
    body = {"model": SMOLLM2, "prompt": PROMPT, "stream": True, "max_tokens": 4000, "logit_bias": ENDLESS}
    with server.client.stream("POST", "/v1/completions", json=body) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(lines)
        until_busy(server, 1)
    until_busy(server, 0)


def test_a_client_that_gives_up_waiting_frees_the_slot(server: Server) -> None:
    body = {"model": SMOLLM2, "prompt": PROMPT, "max_tokens": 4000, "logit_bias": ENDLESS}
    with pytest.raises(httpx.ReadTimeout):
        server.client.post("/v1/completions", json=body, timeout=httpx.Timeout(60, read=1))
    until_busy(server, 0)
