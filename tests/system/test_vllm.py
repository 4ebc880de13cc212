"""The vLLM adapter against a real vLLM (CPU build) and a random model: `TUTTI_TEST_VLLM=1 pytest -m vllm`.

The words are noise, so the tests look at everything but the words.
"""

import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from msgspec import structs
from tests.support.engines import Running, chat, collect, completion, model, running, text_of
from tests.support.vllm import cpu_python, tiny_model

from tutti.base.errors import ContextTooLong, InvalidRequest
from tutti.base.model import Model
from tutti.engines.base import ChatCall, CompletionCall, Constraint, Delta, Place, Refusal, Sampling
from tutti.engines.vllm import Vllm

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(os.environ.get("TUTTI_TEST_VLLM") != "1", reason="set TUTTI_TEST_VLLM=1 (3.4 GB)"),
    pytest.mark.timeout(2400),
    pytest.mark.asyncio(loop_scope="module"),
]
VLLM = Vllm()
COMPACT = '{"backend":"xgrammar","disable_any_whitespace":true}'  # random models like white space
MODEL = model(
    "vllm",
    context_length=512,
    options={
        "max_num_seqs": 8,
        "cpu_kv_cache_gb": 1,
        "dtype": "float32",
        "args": ["--enforce-eager", "--structured-outputs-config", COMPACT],
    },
)
GREEDY = Sampling(temperature=0)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "pick",
            "parameters": {
                "type": "object",
                "properties": {"colour": {"enum": ["red", "blue"]}},
                "required": ["colour"],
                "additionalProperties": False,
            },
        },
    }
]


PARSING = structs.replace(MODEL, options={**MODEL.options, "tool_call_parser": "hermes"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    python = cpu_python()
    folder = tiny_model(python, tmp_path_factory.mktemp("tiny"))
    return Place(folder=folder, port=0, threads=1, vllm_python=str(python))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def vllm(place: Place) -> AsyncIterator[Running]:
    async with running(VLLM, MODEL, place=place, within_s=400) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def parsing(place: Place) -> AsyncIterator[Running]:
    async with running(VLLM, PARSING, place=place, within_s=400) as started:
        yield started


def ask(text: str = "hello", **fields: Any) -> ChatCall:
    return chat(text, **{"model": MODEL, "sampling": GREEDY, "max_tokens": 8, **fields})


async def say(vllm: Running, call: ChatCall | CompletionCall) -> list[Delta]:
    if isinstance(call, ChatCall):
        return await collect(VLLM.text.chat(vllm.upstream, call))
    return await collect(VLLM.text.complete(vllm.upstream, call))


async def test_a_stream_and_a_whole_answer_agree(vllm: Running) -> None:
    pieces, [whole] = await say(vllm, ask(stream=True)), await say(vllm, ask())
    assert text_of(pieces) == whole.text
    assert pieces[-1].finish_reason == whole.finish_reason == "length"
    assert pieces[-1].usage is not None and whole.usage is not None
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens == 8
    ids = [token.id for delta in pieces for token in delta.tokens]
    assert len(ids) == 8 and ids == [token.id for token in whole.tokens]


@pytest.mark.parametrize("stream", [True, False])
async def test_log_probabilities_come_with_ids_and_rivals(vllm: Running, stream: bool) -> None:
    deltas = await say(vllm, ask(stream=stream, logprobs=2))
    tokens = [token for delta in deltas for token in delta.tokens]
    assert len(tokens) == 8
    assert all(token.id is not None and token.logprob is not None for token in tokens)
    assert all(len(token.top) == 2 for token in tokens)


@pytest.mark.parametrize("stream", [True, False])
async def test_completions_with_log_probabilities(vllm: Running, stream: bool) -> None:
    call = completion("once", model=MODEL, stream=stream, max_tokens=5, logprobs=2, sampling=GREEDY)
    deltas = await say(vllm, call)
    tokens = [token for delta in deltas for token in delta.tokens]
    assert len(tokens) == 5
    assert all(token.id is not None and token.logprob is not None and token.top for token in tokens)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_echoed_chat_has_its_template_and_log_probabilities(vllm: Running, stream: bool) -> None:
    first, *rest = await say(vllm, ask("hi", stream=stream, echo=True, logprobs=1))
    assert first.prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert "".join(token.text for token in first.prompt_tokens) == first.prompt
    assert [token.logprob is None for token in first.prompt_tokens][:2] == [True, False]
    assert rest[-1].usage is not None
    assert rest[-1].usage.prompt_tokens == len(first.prompt_tokens)


async def test_an_echoed_completion(vllm: Running) -> None:
    call = completion("once", model=MODEL, echo=True, logprobs=0, max_tokens=2, sampling=GREEDY)
    first, *_ = await say(vllm, call)
    assert first.prompt == "once"
    assert [token.text for token in first.prompt_tokens] == ["o", "n", "c", "e"]


async def test_a_schema_is_kept(vllm: Running) -> None:
    schema = TOOLS[0]["function"]["parameters"]  # type: ignore[index]
    constraint = Constraint(kind="json_schema", schema=schema)
    answer = text_of(await say(vllm, ask(constraint=constraint, max_tokens=60)))
    assert msgspec.json.decode(answer)["colour"] in ("red", "blue")


async def test_a_pattern_is_kept(vllm: Running) -> None:
    constraint = Constraint(kind="regex", pattern="(yes|no)-[0-9]{3}")
    for call in (
        ask(constraint=constraint, max_tokens=30, stream=True),
        completion("x", model=MODEL, constraint=constraint, max_tokens=30),
    ):
        assert re.fullmatch("(yes|no)-[0-9]{3}", text_of(await say(vllm, call)))


async def forced(vllm: Running, which: Model, choice: str | Mapping[str, str]) -> Any:
    call = ask(model=which, stream=True, tools=TOOLS, tool_choice=choice, max_tokens=100)
    return msgspec.json.decode(text_of(await say(vllm, call)))


CALLS = [{"name": "pick", "arguments": {"colour": colour}} for colour in ("red", "blue")]
CHOICES = pytest.mark.parametrize("choice", ["required", {"name": "pick"}])


@CHOICES
async def test_a_forced_tool_is_called_in_the_text(vllm: Running, choice: str | Mapping[str, str]) -> None:
    assert await forced(vllm, MODEL, choice) in CALLS


async def test_tools_that_are_not_forced_are_only_shown(vllm: Running) -> None:
    deltas = await say(vllm, ask(stream=True, tools=TOOLS))
    assert text_of(deltas) and not any(delta.tool_calls for delta in deltas)


async def test_a_stop_sequence_ends_the_answer(vllm: Running) -> None:
    [whole] = await say(vllm, ask())
    stop = whole.text[2:4]
    deltas = await say(vllm, ask(stop=(stop,), stream=True))
    assert (text_of(deltas), deltas[-1].finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


async def test_every_sampling_field_is_accepted(vllm: Running) -> None:
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.01,
        repetition_penalty=1.1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        logit_bias={5: -1.0},
        seed=7,
    )
    first, second = await say(vllm, ask(sampling=sampling)), await say(vllm, ask(sampling=sampling))
    assert text_of(first) == text_of(second)


async def test_what_does_not_fit_is_refused_or_shortened(vllm: Running) -> None:
    with pytest.raises(Refusal) as caught:
        await say(vllm, ask(max_tokens=5000))
    assert isinstance(VLLM.error(caught.value), ContextTooLong)
    shortened = await say(vllm, ask("x" * 480, max_tokens=5000, truncate=True, stream=True))
    assert shortened[-1].finish_reason in ("length", "eos")
    with pytest.raises(Refusal):
        await say(vllm, ask("x" * 600, truncate=True))


async def test_a_wrong_value_is_the_clients_fault(vllm: Running) -> None:
    with pytest.raises(Refusal) as caught:
        await say(vllm, ask(sampling=Sampling(top_p=7.0)))
    assert isinstance(VLLM.error(caught.value), InvalidRequest)


async def test_no_tokens_at_all(vllm: Running) -> None:
    [delta] = await say(vllm, ask(max_tokens=0, stream=True))
    assert delta.usage is not None and delta.usage.completion_tokens == 0 < delta.usage.prompt_tokens


async def test_progress_is_seen_and_a_client_that_leaves_is_noticed(vllm: Running) -> None:
    async def progress() -> Any:
        async with aiohttp.ClientSession() as session, session.get(vllm.address + "/metrics") as answer:
            return VLLM.progress(await answer.read())

    before = await progress()
    batches = VLLM.text.chat(vllm.upstream, ask(stream=True, max_tokens=400))
    await anext(batches)
    while (now := await progress()).busy == 0:
        pass
    assert now.mark != before.mark
    await batches.aclose()  # type: ignore[attr-defined]
    while (await progress()).busy > 0:
        pass


@CHOICES
async def test_so_it_is_with_a_parser(parsing: Running, choice: str | Mapping[str, str]) -> None:
    assert await forced(parsing, PARSING, choice) in CALLS


async def test_with_a_parser_other_tools_may_be_called_or_not(parsing: Running) -> None:
    deltas = await say(parsing, ask(model=PARSING, stream=True, tools=TOOLS))
    assert deltas[-1].finish_reason in ("length", "eos", "tool_calls")
