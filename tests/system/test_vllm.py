"""The vLLM adapter against a real vLLM (CPU build) and a random model: `TUTTI_TEST_VLLM=1 pytest -m vllm`.

The words are noise, so the tests look at everything but the words.
"""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec import structs
from tests.support.adapters import adapter, write
from tests.support.engines import Running, chat, collect, completion, model, running, text_of
from tests.support.grammars import call_of
from tests.support.hub import Hub
from tests.support.numpy_llama import tiny
from tests.support.server import Server, running_server
from tests.support.vllm import cpu_python, tiny_model

from tutti.base.errors import ContextTooLong, InvalidRequest
from tutti.base.model import Model, ModelFile, Source
from tutti.engines.answers import Delta
from tutti.engines.calls import ChatCall, CompletionCall, Constraint, Sampling
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal
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
    call = ask(
        model=which, stream=True, tools=TOOLS, tool_choice=choice, constraint=call_of(*TOOLS), max_tokens=100
    )
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


# --- uploads, on a whole server ---------------------------------------------------------------------------


SHAPES = {
    "self_attn.q_proj": (256, 256),
    "self_attn.v_proj": (256, 256),
    "mlp.up_proj": (512, 256),
    "mlp.down_proj": (256, 512),
}
PROMPT = "once upon a time"
BY_TRANSFORMERS = """
import json, pathlib, sys
import safetensors.torch, torch
from transformers import AutoTokenizer, LlamaForCausalLM
folder, prompt, *adapters = sys.argv[1:]
for adapter in adapters:
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(folder)(prompt, return_tensors="pt").input_ids
    if adapter:
        tensors = safetensors.torch.load_file(pathlib.Path(adapter) / "adapter_model.safetensors")
        for name, a in tensors.items():
            if ".lora_A." in name:
                module = model.get_submodule(name.removeprefix("base_model.model.").split(".lora_A")[0])
                module.weight.data += 8 / len(a) * tensors[name.replace("lora_A", "lora_B")] @ a
    told = model.generate(ids, max_new_tokens=8, do_sample=False, min_new_tokens=8)[0, ids.shape[1]:]
    print(json.dumps(told.tolist()))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    adapters = {f"me/{seed}": adapter(seed, SHAPES, 2, size=0.2) for seed in (1, 2)}
    unfit = {**SHAPES, "self_attn.q_proj": (64, 64)}
    with Hub(repos={**adapters, "me/unfit": adapter(3, unfit, 2), "me/unknown": {}}) as hub:
        made = tiny("LlamaForCausalLM").files()
        hub.repos["me/unknown"] = {**made, "config.json": b'{"architectures": ["NoSuchModel"]}'}
        yield hub


@pytest.fixture(scope="module")
def server(place: Place, hub: Hub) -> Iterator[Server]:
    files = [
        path for path in sorted(place.folder.iterdir()) if path.suffix in (".json", ".safetensors", ".jinja")
    ]
    wanted = tuple(ModelFile(path.name, (Source(path=str(path)),)) for path in files)
    base = structs.replace(MODEL, name="me/base", files=wanted)
    settings = {"vllm_python": place.vllm_python, "hub_url": hub.url, "load_wait_s": 900, "threads": 2}
    with running_server([], catalog=[base], lent=[], **settings) as server:
        yield server


def upload(server: Server, **fields: str) -> dict[str, Any]:
    answer = server.client.post("/v1/models", json=fields)
    assert answer.status_code == 200, answer.text
    give_up_at = time.monotonic() + 240
    while True:
        job = server.client.get(f"/v1/jobs/{answer.json()['data']['job_id']}").json()
        if job["status"] in ("Complete", "Failed"):
            return {**job, "message": job["status_updates"][-1]["message"]}
        assert time.monotonic() < give_up_at, job
        time.sleep(0.2)


async def token_ids(server: Server, name: str) -> list[int]:
    body = {"model": name, "prompt": PROMPT, "max_tokens": 8, "temperature": 0, "logprobs": 1}
    async with httpx.AsyncClient(headers={"authorization": "Bearer any"}, timeout=1200) as client:
        answer = await client.post(f"{server.url}/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["logprobs"]["token_ids"]


async def test_a_base_and_its_uploaded_adapters_answer_as_transformers_do(
    server: Server, hub: Hub, place: Place, tmp_path: Path
) -> None:
    folders = [str(write(tmp_path / name, hub.repos[f"me/{name}"])) for name in ("1", "2")]
    argv = [place.vllm_python, "-I", "-c", BY_TRANSFORMERS, str(place.folder), PROMPT, "", *folders]
    told = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True)
    expected = [json.loads(line) for line in told.stdout.splitlines()]
    fields = {"model_type": "adapter", "base_model": "me/base"}
    for name in ("1", "2"):
        job = upload(server, model_name=f"me/adapter-{name}", model_source=f"me/{name}", **fields)
        assert job["status"] == "Complete", job
    names = ["me/base", "me/adapter-1", "me/adapter-2"]
    await asyncio.gather(
        *(token_ids(server, name) for name in names[1:])
    )  # both, so that it starts with both
    told = [await token_ids(server, name) for name in names]
    assert told == expected
    assert len({str(ids) for ids in expected}) == 3
    body = {"model": "me/adapter-2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    chat = server.client.post("/v1/chat/completions", json=body).json()
    assert (chat["model"], chat["usage"]["completion_tokens"]) == ("me/adapter-2", 4)


async def test_an_adapter_for_another_base_and_an_unknown_architecture_are_refused(server: Server) -> None:
    fields = {"model_type": "adapter", "base_model": "me/base"}
    assert "for another base" in upload(server, model_name="x", model_source="me/unfit", **fields)["message"]
    unknown = upload(server, model_name="y", model_source="me/unknown")["message"]
    assert "vLLM does not know the architecture NoSuchModel" in unknown
