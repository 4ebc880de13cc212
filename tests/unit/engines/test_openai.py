"""The OpenAI dialect: what is asked, and what the many kinds of answer mean."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.engines import Canned, chat, collect, completion, model, text_of

from tutti.base.errors import (
    ContextTooLong,
    EngineTimeout,
    InternalError,
    InvalidRequest,
    RateLimited,
    TooLarge,
    TuttiError,
    Unavailable,
)
from tutti.engines.answers import Delta, Token, ToolCall, TopToken, Usage
from tutti.engines.calls import ChatCall, CompletionCall, Constraint, Sampling
from tutti.engines.openai import Dialect, StreamReader
from tutti.engines.openai_errors import error_of
from tutti.engines.openai_requests import VLLM_SAMPLING, Server, chat_body, completion_body
from tutti.engines.upstream import Refusal

PLAIN = Server("there")
VLLM = Server("there", sampling=VLLM_SAMPLING, vllm=True)
plain = Dialect(lambda _: PLAIN)
vllm = Dialect(lambda _: VLLM)


def event(body: Any) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(body)


def chunk(finish_reason: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "finish_reason": finish_reason, **fields}]})


USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
DONE = b"data: [DONE]\n\n"
STREAM = (
    chunk(delta={"role": "assistant", "content": ""})
    + chunk(delta={"content": "Grüß "}, token_ids=[11])
    + b": keep-alive\n\n"
    + chunk(delta={"content": "Gott 🙂"}, token_ids=[12])
    + chunk("stop", delta={}, stop_reason=None)
    + event({"choices": [], "usage": USAGE})
    + DONE
)
DELTAS = [
    Delta(text="Grüß ", tokens=(Token("Grüß ", 11),)),
    Delta(text="Gott 🙂", tokens=(Token("Gott 🙂", 12),)),
    Delta(finish_reason="eos", usage=Usage(7, 2, 4)),
]


async def streamed(*events: bytes, dialect: Dialect = plain, **fields: Any) -> list[Delta]:
    return await collect(dialect.chat(Canned(events), chat(stream=True, **fields)))


# --- requests ---------------------------------------------------------------------------------------------


def test_a_plain_request_has_nothing_but_the_common_fields() -> None:
    assert chat_body(PLAIN, chat()) == {
        "model": "there",
        "stream": False,
        "messages": [{"role": "user", "content": "hello big world"}],
    }


def test_streams_ask_for_their_usage() -> None:
    for body in (chat_body(PLAIN, chat(stream=True)), completion_body(PLAIN, completion(stream=True))):
        assert body["stream_options"] == {"include_usage": True}


ALL = Sampling(
    temperature=0.0,
    top_p=0.9,
    top_k=3,
    min_p=0.1,
    repetition_penalty=1.1,
    presence_penalty=0.2,
    frequency_penalty=0.3,
    logit_bias={5: -1.0},
    seed=7,
)


def test_sampling_that_a_server_does_not_know_is_left_out() -> None:
    known = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed"}
    assert known == chat_body(PLAIN, chat(sampling=ALL)).keys() - {"model", "stream", "messages"}
    assert chat_body(VLLM, chat(sampling=ALL)).keys() >= known | VLLM_SAMPLING


def test_log_probabilities_are_asked_for_as_each_form_has_them() -> None:
    assert "logprobs" not in chat_body(PLAIN, chat())
    assert chat_body(PLAIN, chat(logprobs=0))["logprobs"] is True
    assert "top_logprobs" not in chat_body(PLAIN, chat(logprobs=0))
    assert chat_body(PLAIN, chat(logprobs=3))["top_logprobs"] == 3
    assert chat_body(Server("x", integer_logprobs=True), chat(logprobs=3))["logprobs"] == 3
    assert completion_body(PLAIN, completion(logprobs=0))["logprobs"] == 0


def test_the_limit_goes_by_the_name_the_server_knows() -> None:
    newer = Server("x", chat_max_tokens="max_completion_tokens")
    assert chat_body(newer, chat(max_tokens=5))["max_completion_tokens"] == 5
    assert completion_body(newer, completion(max_tokens=5))["max_tokens"] == 5


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ({"name": "add"}, {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    assert chat_body(PLAIN, chat(tools=TOOLS, tool_choice=choice))["tool_choice"] == sent


def test_a_server_that_reads_no_tool_calls_is_not_asked_to() -> None:
    server = Server("x", reads_tools=False)
    for choice, sent in (("auto", "none"), ("none", "none"), ("required", "required")):
        body = chat_body(server, chat(tools=TOOLS, tool_choice=choice))
        assert (body["tool_choice"], "response_format" in body) == (sent, False)


def test_where_a_server_cannot_force_a_tool_the_text_is_constrained_to_a_call() -> None:
    calls = Constraint(kind="json_schema", schema={"anyOf": []}, calls=True)
    forced = chat(tools=TOOLS, tool_choice="required", constraint=calls)
    body = chat_body(Server("x", forces_tools=False), forced)
    assert body["tool_choice"] == "none"
    assert body["response_format"]["json_schema"]["schema"] == calls.schema
    assert "response_format" not in chat_body(PLAIN, forced)


def test_constraints() -> None:
    schema = {"type": "object"}
    as_schema = Constraint(kind="json_schema", schema=schema)
    sent = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    assert chat_body(PLAIN, chat(constraint=as_schema))["response_format"] == sent
    assert completion_body(VLLM, completion(constraint=as_schema))["response_format"] == sent
    as_object = Constraint(kind="json_object")
    assert chat_body(PLAIN, chat(constraint=as_object))["response_format"] == {"type": "json_object"}
    as_regex = Constraint(kind="regex", pattern="a+")
    assert chat_body(VLLM, chat(constraint=as_regex))["structured_outputs"] == {"regex": "a+"}


@pytest.mark.parametrize(
    "build",
    [
        lambda: chat_body(PLAIN, chat(constraint=Constraint(kind="regex", pattern="a"))),
        lambda: completion_body(PLAIN, completion(constraint=Constraint(kind="json_object"))),
    ],
)
def test_a_constraint_that_cannot_be_kept_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build()
    assert caught.value.param == "response_format"


def test_template_arguments_reach_only_servers_that_know_them() -> None:
    call = chat(template_kwargs={"enable_thinking": False})
    assert "chat_template_kwargs" not in chat_body(PLAIN, call)
    assert chat_body(VLLM, call)["chat_template_kwargs"] == {"enable_thinking": False}


# --- streams ----------------------------------------------------------------------------------------------


async def test_a_stream_becomes_deltas_and_ends_with_finish_and_usage() -> None:
    assert await streamed(STREAM) == DELTAS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_any_cut_of_the_stream_gives_the_same_deltas(places: list[int]) -> None:
    reader = StreamReader()
    ends = zip([0, *places], [*places, len(STREAM)], strict=True)
    deltas = [delta for start, end in ends for delta in reader.feed(STREAM[start:end])]
    assert deltas + reader.close() == DELTAS


async def test_one_upstream_read_is_one_batch() -> None:
    halves = (STREAM[: STREAM.index(b": keep")], STREAM[STREAM.index(b": keep") :])
    batches = [list(batch) async for batch in plain.chat(Canned(halves), chat(stream=True))]
    assert batches == [DELTAS[:1], DELTAS[1:]]


async def test_usage_may_come_with_the_last_choice() -> None:
    last = event({"choices": [{"delta": {"content": "x"}, "finish_reason": "length"}], "usage": USAGE})
    assert await streamed(last) == [Delta(text="x"), Delta(finish_reason="length", usage=Usage(7, 2, 4))]


@pytest.mark.parametrize(
    ("fields", "finish"),
    [
        ({"stop_reason": None}, "eos"),
        ({"stop_reason": "END"}, "stop"),
        ({"stop_reason": 42}, "stop"),
        ({}, "stop"),
    ],
)
async def test_a_stop_sequence_is_told_from_the_models_own_end(fields: Any, finish: str) -> None:
    deltas = await streamed(chunk("stop", delta={}, **fields), DONE)
    assert deltas[-1].finish_reason == finish


async def test_tool_calls_come_in_pieces() -> None:
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}
    deltas = await streamed(
        chunk(delta={"tool_calls": [first]}),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk("tool_calls", delta={}),
        DONE,
    )
    assert [call for delta in deltas for call in delta.tool_calls] == [
        ToolCall(0, "c1", "add", ""),
        ToolCall(0, "", "", '{"a":'),
    ]
    assert deltas[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_reasoning_by_either_name(name: str) -> None:
    deltas = await streamed(chunk(delta={name: "hm"}), chunk("stop", delta={"content": "so"}), DONE)
    assert [(delta.reasoning, delta.text) for delta in deltas[:2]] == [("hm", ""), ("", "so")]


async def test_togethers_own_chunks() -> None:
    deltas = await streamed(
        chunk(delta={"content": "hi", "token_id": 5}, logprobs=-0.5, top_logprobs={"ho": -0.7}),
        chunk(delta={"content": "!"}, logprobs=-0.5, top_logprobs={"?": -0.7}),
        chunk("eos", delta={"content": ""}),
        DONE,
    )
    assert deltas[0] == Delta(text="hi", tokens=(Token("hi", 5, -0.5, (TopToken("ho", -0.7),)),))
    assert deltas[1] == Delta(text="!", tokens=(Token("!", None, -0.5, (TopToken("?", -0.7),)),))
    assert deltas[-1].finish_reason == "eos"


async def test_log_probabilities_of_a_chat() -> None:
    entry = {"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "b", "logprob": -0.5}]}
    deltas = await streamed(
        chunk("stop", delta={"content": "a"}, logprobs={"content": [entry]}, token_ids=[9]), DONE
    )
    assert deltas[0].tokens == (Token("a", 9, -1.0, (TopToken("b", -0.5),)),)


async def test_alternatives_in_one_object_are_the_first_tokens() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1.0], "top_logprobs": {"a": -0.5, "b": -1.0}}
    body = {"choices": [{"message": {"content": "ab"}, "logprobs": logprobs, "finish_reason": "length"}]}
    [delta] = await collect(plain.chat(Canned([msgspec.json.encode(body)]), chat(logprobs=1)))
    alternatives = (TopToken("a", -0.5), TopToken("b", -1.0))
    assert delta.tokens == (Token("a", None, -0.5, alternatives), Token("b", None, -1.0))


async def test_log_probabilities_of_a_completion() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [None, -1.0], "top_logprobs": [None, {"b": -1.0}]}
    body = {"choices": [{"text": "ab", "logprobs": logprobs, "finish_reason": "length"}], "usage": USAGE}
    [delta] = await collect(plain.complete(Canned([msgspec.json.encode(body)]), completion(logprobs=1)))
    assert delta.tokens == (Token("a"), Token("b", None, -1.0, (TopToken("b", -1.0),)))
    assert (delta.text, delta.finish_reason, delta.usage) == ("ab", "length", Usage(7, 2, 4))


async def test_text_of_several_tokens_stays_whole() -> None:
    deltas = await streamed(chunk("stop", delta={"content": "ab"}, token_ids=[1, 2]), DONE)
    assert deltas[0].tokens == (Token("ab", 1), Token("", 2))


# --- whole answers ----------------------------------------------------------------------------------------


async def test_a_whole_answer_is_one_delta() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "hm"}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    assert await collect(plain.chat(Canned([msgspec.json.encode(body)]), chat())) == [
        Delta(
            reasoning="hm",
            tool_calls=(ToolCall(0, "c1", "add", "{}"),),
            finish_reason="tool_calls",
            usage=Usage(7, 2, 4),
        )
    ]


async def test_a_limit_of_no_tokens_makes_one_and_throws_it_away() -> None:
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}], "usage": USAGE}
    upstream = Canned([msgspec.json.encode(body)])
    assert await collect(plain.chat(upstream, chat(max_tokens=0, stream=True))) == [
        Delta(finish_reason="length", usage=Usage(7, 0, 4))
    ]
    assert upstream.asked[0][1].items() >= {"max_tokens": 1, "stream": False}.items()
    assert "stream_options" not in upstream.asked[0][1]


# --- echo -------------------------------------------------------------------------------------------------

PROMPT = {
    "choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
    "prompt_text": "<s>hi you",
    "prompt_token_ids": [1, 2, 3],
    "prompt_logprobs": [
        None,
        {"2": {"logprob": -1.0, "rank": 1, "decoded_token": "hi"}},
        {
            "3": {"logprob": -3.0, "rank": 2, "decoded_token": " you"},
            "4": {"logprob": -0.1, "rank": 1, "decoded_token": " there"},
        },
    ],
}


async def test_an_echoed_prompt_comes_first_with_its_tokens() -> None:
    upstream = Canned([msgspec.json.encode(PROMPT)])
    first, _ = await collect(vllm.chat(upstream, chat(echo=True, logprobs=1)))
    assert first.prompt == "<s>hi you"
    assert first.prompt_tokens == (
        Token("<s>", 1),
        Token("hi", 2, -1.0, (TopToken("hi", -1.0, 2),)),
        Token(" you", 3, -3.0, (TopToken(" you", -3.0, 3), TopToken(" there", -0.1, 4))),
    )
    asked = upstream.asked[0][1]
    assert (asked["prompt_logprobs"], asked["max_tokens"], asked["return_prompt_text"]) == (1, 1, True)


async def test_a_completions_prompt_is_known_already() -> None:
    body = {"choices": [{"text": "x", "finish_reason": "length"}]}
    deltas = await collect(plain.complete(Canned([msgspec.json.encode(body)]), completion("hi", echo=True)))
    assert deltas[0] == Delta(prompt="hi")


@pytest.mark.parametrize("call", [chat(echo=True), completion(echo=True, logprobs=1)])
async def test_an_echo_that_cannot_be_had_is_refused(call: ChatCall | CompletionCall) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await collect(
            plain.chat(Canned(), call) if isinstance(call, ChatCall) else plain.complete(Canned(), call)
        )
    assert caught.value.param == "echo"


# --- errors -----------------------------------------------------------------------------------------------


def refusal(status: int, message: str = "", **fields: Any) -> Refusal:
    return Refusal(status, msgspec.json.encode({"error": {"message": message, "type": "x", **fields}}))


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (refusal(400, "bad top_p", param="top_p"), InvalidRequest),
        (refusal(400, "This model's maximum context length is 10 tokens."), ContextTooLong),
        (refusal(400, "too much", code="context_length_exceeded"), ContextTooLong),
        (refusal(401), InternalError),
        (refusal(404), InternalError),
        (refusal(413), TooLarge),
        (refusal(429), RateLimited),
        (refusal(500), InternalError),
        (refusal(502), Unavailable),
        (refusal(503), Unavailable),
        (refusal(504), EngineTimeout),
        (Refusal(400, b"<html>"), InvalidRequest),
        (Refusal(400, b'{"error":"no"}'), InvalidRequest),
    ],
)
def test_refusals(given: Refusal, kind: type[TuttiError]) -> None:
    assert type(error_of(given)) is kind


def test_what_a_failing_server_says_about_itself_is_not_passed_on() -> None:
    assert "10.0.0.7" not in error_of(refusal(500, "cannot reach 10.0.0.7")).message
    assert error_of(refusal(400, "bad top_p", param="top_p")).param == "top_p"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "bad", "type": "BadRequestError", "code": 400}, InvalidRequest),
        ({"message": "bad", "type": "invalid_request_error", "code": None}, InvalidRequest),
        ({"message": "dead", "type": "InternalServerError", "code": 500}, InternalError),
        ({"message": "dead", "type": "server_error"}, Unavailable),
    ],
)
async def test_an_error_in_the_stream_is_raised(error: Any, kind: type[TuttiError]) -> None:
    batches = plain.chat(
        Canned([chunk(delta={"content": "a"}), event({"error": error}), DONE]), chat(stream=True)
    )
    assert text_of(await anext(batches)) == "a"
    with pytest.raises(kind):
        await anext(batches)


@pytest.mark.parametrize("rest", [[], [DONE], [b"data: {oops\n\n"], [chunk("abort", delta={})]])
async def test_an_answer_that_breaks_off_is_unavailable(rest: Sequence[bytes]) -> None:
    with pytest.raises(Unavailable):
        await streamed(chunk(delta={"content": "a"}), *rest)


async def test_a_limit_that_does_not_fit_is_dropped_when_truncation_is_wanted() -> None:
    too_long = refusal(400, "maximum context length")
    upstream = Canned([STREAM], [too_long])
    call = chat(stream=True, max_tokens=9, truncate=True)
    assert text_of(await collect(plain.chat(upstream, call))) == "Grüß Gott 🙂"
    assert ["max_tokens" in body for _, body in upstream.asked] == [True, False]
    with pytest.raises(Refusal):
        await collect(plain.chat(Canned([STREAM], [too_long]), chat(stream=True, max_tokens=9)))


# --- embeddings and reranking -----------------------------------------------------------------------------


@pytest.mark.parametrize("given_vector", ["AACAPwAAAEA=", [1.0, 2.0]])
async def test_embeddings_in_their_inputs_order(given_vector: Any) -> None:
    data = [{"index": 1, "embedding": [0.0]}, {"index": 0, "embedding": given_vector}]
    body = msgspec.json.encode({"data": data, "usage": {"prompt_tokens": 3}})
    found = await plain.embed(Canned([body]), model(), ["a", "b"])
    assert list(found.vectors) == [b"\0\0\x80\x3f\0\0\0\x40", b"\0\0\0\0"]
    assert found.prompt_tokens == 3


async def test_scores_in_their_documents_order() -> None:
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    upstream = Canned([msgspec.json.encode({"results": results, "usage": {"total_tokens": 5}})])
    found = await plain.rerank(upstream, model(), "q", ["a", "b"])
    assert (list(found.scores), found.prompt_tokens) == ([0.1, 0.9], 5)
    assert upstream.asked == [("/v1/rerank", {"model": "there", "query": "q", "documents": ["a", "b"]})]


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 10 tokens. However, your messages resulted in 12 tokens.",
        "You passed 12 input tokens and requested 1 output tokens. However, the model's context length is 9",
        "the request exceeds the available context size, try increasing it",
        "The prompt is longer than the maximum model length of 10.",
    ],
)
def test_a_full_context_is_told_in_the_words_that_clients_look_for(message: str) -> None:
    told = error_of(refusal(400, message)).message
    assert told.startswith("This model's maximum context length is")
    assert told.count("maximum context length is") == 1
    assert message in told
