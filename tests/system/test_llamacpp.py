"""The llama.cpp engine with real weights: what every field of a call does."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.support.engines import Running, chat, collect, completion, running, text_of
from tests.support.grammars import call_of, json_schema, regex
from tests.support.patience import limit
from tests.support.weights import QWEN, SMOLLM2, gguf, pulled

from tutti.base.errors import ContextTooLong, InvalidRequest
from tutti.base.model import Model
from tutti.catalog.catalog import shipped_models
from tutti.engines.answers import Delta, Usage
from tutti.engines.calls import Sampling
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal

ENGINE = LlamaCpp()
CONTEXT = 256
GREEDY = Sampling(temperature=0)
ENDLESS = Sampling(temperature=0, logit_bias={0: -100, 2: -100})  # the ends that SmolLM2 knows
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/City"}},
            "required": ["city"],
            "$defs": {"City": {"type": "string", "maxLength": 30}},
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "description": "The time of day"}}


def _entry(name: str, **options: Any) -> Model:
    shipped = shipped_models()[name]
    return Model(
        name=name,
        type="chat",
        engine="llamacpp",
        files=shipped.files,
        context_length=shipped.context_length,
        options=options,
    )


SMOL = _entry(SMOLLM2, context=CONTEXT, slots=4)
QWEN_CODER = _entry(QWEN, context=2048, slots=2)
WIDE = _entry(SMOLLM2, context=8192, slots=1)
LONG = completion("Once", model=WIDE, stream=True, max_tokens=8000, sampling=ENDLESS)
"""An answer that takes a minute, of which nobody hears the end."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def smol() -> AsyncIterator[Running]:
    folder = await asyncio.to_thread(pulled, SMOLLM2)
    async with running(ENGINE, SMOL, place=Place(folder=folder, port=0, threads=2)) as engine:
        yield engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def qwen() -> AsyncIterator[Running]:
    folder = await asyncio.to_thread(pulled, QWEN)
    async with running(ENGINE, QWEN_CODER, place=Place(folder=folder, port=0, threads=2)) as engine:
        yield engine


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def complete(engine: Running, prompt: str = "Once upon a time", **fields: Any) -> list[Delta]:
    given = {"model": SMOL, "sampling": GREEDY, "max_tokens": 12, **fields}
    return await collect(ENGINE.text.complete(engine.upstream, completion(prompt, **given)))


async def talk(engine: Running, text: str = "Tell me a story.", **fields: Any) -> list[Delta]:
    given = {"model": SMOL, "sampling": GREEDY, "max_tokens": 12, **fields}
    return await collect(ENGINE.text.chat(engine.upstream, chat(text, **given)))


def usage_of(deltas: list[Delta]) -> Usage:
    assert deltas[-1].usage is not None
    return deltas[-1].usage


# --- text -------------------------------------------------------------------------------------------------


async def test_a_stream_and_a_whole_answer_say_the_same(smol: Running) -> None:
    streamed, whole = await complete(smol, stream=True), await complete(smol)
    assert len(streamed) > 5
    assert len(whole) == 1
    assert text_of(streamed) == text_of(whole)
    assert streamed[-1].finish_reason == whole[0].finish_reason == "length"
    assert [d.finish_reason for d in streamed[:-1]] == [None] * (len(streamed) - 1)
    assert usage_of(streamed).completion_tokens == 12
    assert usage_of(streamed).prompt_tokens == usage_of(whole).prompt_tokens == 4


async def test_stream_tokens_have_their_ids_and_make_up_the_text(smol: Running) -> None:
    deltas = await complete(smol, stream=True)
    tokens = [token for delta in deltas for token in delta.tokens]
    assert len(tokens) == 12
    assert "".join(token.text for token in tokens) == text_of(deltas)
    assert all(token.id is not None and token.logprob is None for token in tokens)


async def test_a_chat_goes_through_the_template_of_the_model(smol: Running) -> None:
    deltas = await talk(smol, "Hi", echo=True)
    assert deltas[0].prompt is not None
    assert deltas[0].prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert usage_of(deltas).prompt_tokens == len(deltas[0].prompt_tokens)


async def test_echo_gives_the_prompt_with_its_tokens_and_their_logprobs(smol: Running) -> None:
    deltas = await complete(smol, "Hé 😀 there", echo=True, stream=True, logprobs=1)
    first = deltas[0]
    assert first.prompt == "Hé 😀 there"
    assert first.prompt_tokens[0].text == "H"
    assert first.prompt_tokens[0].logprob is None, "nothing comes before it"
    assert all(token.id is not None for token in first.prompt_tokens)
    assert first.prompt_tokens[-1].text == " there"
    assert first.prompt_tokens[-1].logprob is not None
    assert all(delta.prompt is None for delta in deltas[1:])


async def test_the_end_of_the_answer_is_told_from_a_limit_and_from_a_stop_sequence(smol: Running) -> None:
    stopped = await complete(smol, "Count: 1, 2, 3, 4, 5,", stop=("7", ""), max_tokens=40)
    assert text_of(stopped).strip() == "6,"
    assert stopped[-1].finish_reason == "stop"
    ended = await talk(smol, constraint=regex("yes"))
    assert text_of(ended) == "yes"
    assert ended[-1].finish_reason == "eos"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_limit_of_no_tokens_generates_none(smol: Running, stream: bool) -> None:
    deltas = await complete(smol, max_tokens=0, echo=True, stream=stream)
    assert text_of(deltas) == ""
    assert deltas[0].prompt == "Once upon a time"
    assert deltas[-1].finish_reason == "length"
    assert usage_of(deltas) == Usage(prompt_tokens=4)


async def test_an_empty_prompt_is_refused_where_the_tokeniser_begins_with_nothing(smol: Running) -> None:
    for max_tokens in (0, 5):
        with pytest.raises(InvalidRequest) as refused:
            await complete(smol, "", max_tokens=max_tokens)
        assert refused.value.param == "prompt"


async def test_tokens_are_counted_as_they_come_also_those_that_are_half_a_character(smol: Running) -> None:
    deltas = await talk(smol, "repeat 🌟🌟🌟", stream=True, logprobs=1)
    counts = [delta.usage.completion_tokens for delta in deltas if delta.usage is not None]
    assert len(counts) == len(deltas)
    assert counts == sorted(counts)
    assert {delta.usage.prompt_tokens for delta in deltas if delta.usage} == {usage_of(deltas).prompt_tokens}
    told = sum(len(delta.tokens) for delta in deltas)
    assert 0 < told < usage_of(deltas).completion_tokens == 12


async def test_a_limit_of_one_token_generates_one(smol: Running) -> None:
    assert usage_of(await complete(smol, max_tokens=1)).completion_tokens == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs_name_the_sampled_token_and_the_likeliest(smol: Running, stream: bool) -> None:
    deltas = await complete(smol, logprobs=3, stream=stream)
    tokens = [token for delta in deltas for token in delta.tokens]
    assert "".join(token.text for token in tokens) == text_of(deltas)
    for token in tokens:
        assert len(token.top) == 3
        assert token.logprob is not None
        assert token.logprob <= 0
        assert token.top[0].id == token.id  # at temperature 0
        assert token.top[0].logprob == pytest.approx(token.logprob, abs=1e-4)


async def test_logprobs_of_zero_are_only_the_sampled_tokens(smol: Running) -> None:
    (whole,) = await complete(smol, logprobs=0)
    assert all(token.logprob is not None and token.top == () for token in whole.tokens)


# --- sampling ---------------------------------------------------------------------------------------------


async def test_the_same_seed_gives_the_same_text_whatever_came_between(smol: Running) -> None:
    hot = Sampling(temperature=1.2, seed=-7)
    first = text_of(await complete(smol, sampling=hot, max_tokens=30))
    for prompt in ("Once upon a hill", "Once", "Completely different"):
        await complete(smol, prompt, max_tokens=4)
    assert text_of(await complete(smol, sampling=hot, max_tokens=30)) == first
    assert text_of(await complete(smol, sampling=hot, max_tokens=30, stream=True)) == first
    other = Sampling(temperature=1.2, seed=2**40 + 1)
    assert text_of(await complete(smol, sampling=other, max_tokens=30)) != first


async def test_without_a_seed_hot_answers_differ(smol: Running) -> None:
    hot = Sampling(temperature=1.5)
    answers = {text_of(await complete(smol, sampling=hot, max_tokens=20)) for _ in range(3)}
    assert len(answers) > 1


@pytest.mark.parametrize(
    "narrow",
    [{"top_k": 1}, {"top_p": 0.0001}, {"min_p": 1.0}, {"temperature": 0.0}],
    ids=lambda n: next(iter(n)),
)
async def test_each_way_to_narrow_the_choice_to_one_token_gives_the_greedy_text(
    smol: Running, narrow: dict[str, float]
) -> None:
    greedy = text_of(await complete(smol))
    assert text_of(await complete(smol, sampling=Sampling(**{"temperature": 1.9, **narrow}))) == greedy


async def test_top_k_below_one_means_all_tokens(smol: Running) -> None:
    assert text_of(await complete(smol, sampling=Sampling(temperature=2, top_k=-1, seed=3))) == text_of(
        await complete(smol, sampling=Sampling(temperature=2, seed=3))
    )


@pytest.mark.parametrize(
    "penalty", [{"repetition_penalty": 1.9}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}]
)
async def test_each_penalty_keeps_a_model_from_repeating_itself(
    smol: Running, penalty: dict[str, float]
) -> None:
    def repeated(deltas: list[Delta]) -> int:
        ids = [token.id for delta in deltas for token in delta.tokens]
        return len(ids) - len(set(ids))

    prompt = "no no no no no no no no no no no no"
    plain = await complete(smol, prompt, stream=True, max_tokens=20)
    penalised = Sampling(temperature=0, **penalty)
    assert repeated(await complete(smol, prompt, sampling=penalised, stream=True, max_tokens=20)) < repeated(
        plain
    )


async def test_a_bias_forces_a_token_and_forbids_one(smol: Running) -> None:
    (token,) = (await complete(smol, max_tokens=1, logprobs=0))[0].tokens
    assert token.id is not None
    forbidden = Sampling(temperature=0, logit_bias={token.id: -100})
    assert (await complete(smol, sampling=forbidden, max_tokens=1, logprobs=0))[0].tokens[0].id != token.id
    forced = Sampling(temperature=0, logit_bias={1000: 100})
    tokens = (await complete(smol, sampling=forced, max_tokens=3, logprobs=0))[0].tokens
    assert {token.id for token in tokens} == {1000}


async def test_a_bias_for_a_token_that_cannot_be_is_the_callers_mistake(smol: Running) -> None:
    with pytest.raises(InvalidRequest):
        await complete(smol, sampling=Sampling(logit_bias={2**31: 1}))


# --- context ----------------------------------------------------------------------------------------------


async def test_a_prompt_that_is_too_long_is_refused_with_the_models_context(smol: Running) -> None:
    for fields in ({"max_tokens": None}, {"max_tokens": 5}, {"max_tokens": 5, "truncate": True}):
        with pytest.raises((ContextTooLong, Refusal)) as refused:
            await talk(smol, "word " * 2000, **fields)
        error = refused.value
        error = ENGINE.error(error) if isinstance(error, Refusal) else error
        assert isinstance(error, ContextTooLong)
        assert error.status == 400
        assert str(CONTEXT) in error.message


async def test_a_limit_that_does_not_fit_is_refused_or_shortened(smol: Running) -> None:
    with pytest.raises(ContextTooLong):
        await talk(smol, max_tokens=CONTEXT)
    with pytest.raises(ContextTooLong):
        await complete(smol, max_tokens=CONTEXT)
    deltas = await talk(smol, max_tokens=10**12, truncate=True, constraint=regex("ab"))
    assert text_of(deltas) == "ab"


async def test_an_answer_without_a_limit_ends_with_the_context(smol: Running) -> None:
    deltas = await complete(smol, "word " * 230, max_tokens=None, sampling=ENDLESS)
    counted = usage_of(deltas)
    assert deltas[-1].finish_reason == "length"
    assert counted.prompt_tokens + counted.completion_tokens == CONTEXT


# --- forms ------------------------------------------------------------------------------------------------


async def test_a_json_object_is_one(smol: Running) -> None:
    deltas = await talk(smol, max_tokens=60, constraint=json_schema({"type": "object"}), stream=True)
    text = text_of(deltas)
    assert text.startswith("{")
    if deltas[-1].finish_reason == "eos":
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_keeps_to_its_schema(smol: Running, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 20},
            "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
        },
        "required": ["colour", "count", "code"],
        "additionalProperties": False,
    }
    constraint = json_schema(schema)
    deltas = await talk(smol, max_tokens=100, stream=stream, constraint=constraint, logprobs=1)
    answer = json.loads(text_of(deltas))
    assert answer["colour"] in ("red", "green")
    assert 1 <= answer["count"] <= 20
    assert re.fullmatch("[A-Z]{2}[0-9]{3}", answer["code"])


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(\+1)?[2-9]\d{2}-[a-z_]{3}$",
        r"(positive|neutral|negative)",
        r"[^\s\d]{5} \w+?[.!]",
        "[äöü]{3}[😀-😂]",
        r"(?:ab|c?){3}x",
    ],
)
async def test_an_answer_matches_its_regular_expression(smol: Running, pattern: str) -> None:
    deltas = await complete(smol, max_tokens=200, constraint=regex(pattern))
    if deltas[-1].finish_reason == "eos":
        assert re.fullmatch(pattern, text_of(deltas), re.ASCII)
    else:
        assert r"\w+" in pattern


# --- tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_required_tool_is_called(qwen: Running, stream: bool) -> None:
    fields: dict[str, Any] = {"model": QWEN_CODER, "tools": [TIME, WEATHER], "max_tokens": 60}
    fields |= {"constraint": call_of(TIME, WEATHER)}
    deltas = await talk(
        qwen, "What is the weather in Paris?", tool_choice="required", stream=stream, **fields
    )
    assert json.loads(text_of(deltas)) == {"name": "get_weather", "arguments": {"city": "Paris"}}


async def test_the_tool_that_is_named_is_called(qwen: Running) -> None:
    fields: dict[str, Any] = {"model": QWEN_CODER, "tools": [TIME, WEATHER], "max_tokens": 60}
    fields |= {"constraint": call_of(TIME)}
    deltas = await talk(qwen, "What is the weather in Paris?", tool_choice={"name": "get_time"}, **fields)
    assert json.loads(text_of(deltas)) == {"name": "get_time", "arguments": {}}


async def test_tools_that_may_be_called_are_shown_to_the_model(qwen: Running) -> None:
    fields: dict[str, Any] = {"model": QWEN_CODER, "tools": [WEATHER], "max_tokens": 60}
    for more in ({"stream": True}, {"stream": False}, {"stream": True, "logprobs": 1}):
        deltas = await talk(qwen, "What is the weather in Paris?", **fields, **more)
        calls = "".join(call.arguments for delta in deltas for call in delta.tool_calls)
        assert "Paris" in text_of(deltas) + calls
        assert deltas[-1].finish_reason is not None
        assert usage_of(deltas).prompt_tokens > 100


async def test_tools_that_may_not_be_called_are_not_shown(qwen: Running) -> None:
    deltas = await talk(qwen, "Say hello.", model=QWEN_CODER, tools=[WEATHER], tool_choice="none", echo=True)
    assert deltas[0].prompt is not None
    assert "get_weather" not in deltas[0].prompt


async def test_a_small_model_answers_sensibly(qwen: Running) -> None:
    assert "Paris" in text_of(await talk(qwen, "What is the capital of France?", model=QWEN_CODER))


# --- templates --------------------------------------------------------------------------------------------


async def test_the_template_gets_its_arguments_and_opened_thoughts_are_given_back(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(pulled, SMOLLM2)
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "think.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %} {{ reasoning_effort }} {{ note }}"
        "{% if messages[0].role == 'tool' %}{{ raise_exception('No tools here') }}{% endif %}"
        "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
    )
    thinker = _entry(SMOLLM2, context=CONTEXT, slots=1, chat_template="think.jinja")
    async with running(ENGINE, thinker, place=Place(folder=tmp_path, port=0, threads=2)) as engine:
        fields: dict[str, Any] = {"model": thinker, "echo": True}
        kwargs = {"note": "seven"}
        deltas = await talk(
            engine, "Hi", stream=True, reasoning_effort="high", template_kwargs=kwargs, **fields
        )
        assert deltas[0].prompt == "Hi high seven<think>\n"
        assert text_of(deltas).startswith("<think>")
        quiet = await talk(engine, "Hi", template_kwargs={"enable_thinking": False}, **fields)
        assert quiet[0].prompt == "Hi  "
        assert not text_of(quiet).startswith("<think>")
        formed = await talk(engine, "Hi", constraint=regex("yes"), **fields)
        assert text_of(formed) == "yes"
        with pytest.raises(Refusal) as refused:
            await talk(engine, messages=[{"role": "tool", "content": "x"}], **fields)
        assert isinstance(ENGINE.error(refused.value), InvalidRequest)


async def test_images_for_a_model_without_eyes_are_the_callers_mistake(smol: Running) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": image}}]
    with pytest.raises(Refusal) as refused:
        await talk(smol, messages=[{"role": "user", "content": parts}])
    assert isinstance(ENGINE.error(refused.value), InvalidRequest)


# --- the process ------------------------------------------------------------------------------------------


async def _progress(engine: Running) -> Any:
    url = engine.address + ENGINE.progress_path
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return ENGINE.progress(await response.read())


@contextlib.asynccontextmanager
async def _wide() -> AsyncIterator[Running]:
    folder = await asyncio.to_thread(pulled, SMOLLM2)
    async with running(ENGINE, WIDE, place=Place(folder=folder, port=0, threads=1)) as engine:
        yield engine


async def test_progress_moves_with_the_tokens_and_ends_when_the_client_leaves() -> None:
    async with _wide() as engine:
        assert (await _progress(engine)).busy == 0
        batches = ENGINE.text.complete(engine.upstream, LONG)
        await anext(batches)
        before = await _progress(engine)
        for _ in range(4):
            await anext(batches)
        after = await _progress(engine)
        assert before.busy == after.busy == 1
        assert before.mark != after.mark
        await batches.aclose()
        until = time.monotonic() + limit(10)
        while (await _progress(engine)).busy:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)


async def test_more_requests_than_slots_are_all_answered(smol: Running) -> None:
    calls = [complete(smol, f"Number {n}", max_tokens=5, stream=n % 2 == 0) for n in range(12)]
    answers = await asyncio.gather(*calls)
    assert [usage_of(answer).completion_tokens for answer in answers] == [5] * 12


async def test_every_slot_may_fill_its_context_while_the_others_do(smol: Running) -> None:
    calls = [complete(smol, f"{n} word" * 110, max_tokens=20, sampling=ENDLESS) for n in range(4)]
    answers = await asyncio.gather(*calls)
    assert [usage_of(answer).completion_tokens for answer in answers] == [20] * 4
    assert all(usage_of(answer).prompt_tokens > 200 for answer in answers)


async def test_no_endpoint_reads_or_writes_files(smol: Running) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/slots/0?action=save", "/tools", "/cors-proxy?url=http://127.0.0.1:1", "/props", "/"):
            async with session.post(smol.address + path, json={"filename": "x"}) as response:
                assert response.status >= 400, path


async def test_it_ends_at_once_when_told_to() -> None:
    async with _wide() as engine:
        batches = ENGINE.text.complete(engine.upstream, LONG)
        await anext(batches)
        began = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)
        await engine.process.wait()
        assert time.monotonic() - began < 10
        await batches.aclose()


@pytest.mark.parametrize("content", [b"", b"GGUF\x03", b"hello" * 1000, gguf(), gguf()[:5000]])
async def test_a_file_that_is_no_model_ends_it_with_a_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    command = [
        sys.executable,
        "-m",
        "tutti.workers.llamacpp",
        "--model",
        str(tmp_path / "bad.gguf"),
        "--port",
        "1",
    ]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=limit(60)
    )
    assert ended.returncode == 1
    assert "cannot load bad.gguf" in ended.stderr


# --- embeddings -------------------------------------------------------------------------------------------


async def test_any_gguf_can_embed_and_long_texts_are_cut() -> None:
    folder = await asyncio.to_thread(pulled, SMOLLM2)
    embedder = Model(
        name="e", type="embedding", engine="llamacpp", files=SMOL.files, options={"context": 256, "slots": 2}
    )
    async with running(ENGINE, embedder, place=Place(folder=folder, port=0, threads=2)) as engine:
        texts = ["a cat", "word " * 1000, "a cat"]
        found = await ENGINE.embedding.embed(engine.upstream, embedder, texts)
        assert found.vectors[0] == found.vectors[2] != found.vectors[1]
        assert {len(vector) for vector in found.vectors} == {576 * 4}
        assert 250 < found.prompt_tokens < 256 + 10
