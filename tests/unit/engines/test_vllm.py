"""vLLM's command line, and what its metrics say."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from tests.support.engines import Canned, chat, collect, model

from tutti.base.model import Model, ModelFile
from tutti.engines.place import Adapter, Place
from tutti.engines.vllm import Vllm, server_of

VLLM = Vllm()
FILES = (ModelFile(name="model.safetensors", size_bytes=10**9),)


def line(which: Model, **place: Any) -> str:
    at = Place(**{"folder": Path("/w/model"), "port": 9000, "threads": 3, **place})
    return " ".join(VLLM.program(which, at).argv)


def environment(which: Model, **place: Any) -> Mapping[str, str]:
    return VLLM.program(which, Place(**{"folder": Path("/w"), "port": 1, "threads": 3, **place})).env


def vllm(files: tuple[ModelFile, ...] = FILES, **fields: Any) -> Model:
    return model("vllm", files=files, **fields)


def test_the_least_command_line() -> None:
    assert line(vllm()) == (
        "vllm serve /w/model --served-model-name some/model --host 127.0.0.1 --port 9000"
        " --enable-prompt-tokens-details --scheduling-policy priority --max-num-seqs 256"
    )


def test_an_environment_of_its_own() -> None:
    started = line(vllm(), vllm_python="/venv/bin/python")
    assert started.startswith("/venv/bin/python -m vllm.entrypoints.cli.main serve /w/model ")


def test_every_option() -> None:
    options = {
        "max_num_seqs": 8,
        "gpus": 2,
        "gpu_memory_utilization": 0.8,
        "dtype": "bfloat16",
        "quantization": "fp8",
        "reasoning_parser": "qwen3",
        "tool_call_parser": "hermes",
        "lora_modules": ["a=/l/a", "b=/l/b"],
        "max_lora_rank": 32,
        "args": ["--enforce-eager"],
    }
    which = vllm(context_length=4096, options=options)
    assert line(which).endswith(
        " --max-num-seqs 8 --max-model-len 4096 --tensor-parallel-size 2 --gpu-memory-utilization 0.8"
        " --dtype bfloat16 --quantization fp8 --reasoning-parser qwen3 --max-lora-rank 32"
        " --enable-auto-tool-choice --tool-call-parser hermes --enable-lora --lora-modules a=/l/a b=/l/b"
        " --max-loras 2 --enforce-eager"
    )
    assert VLLM.slots(which) == 8
    assert VLLM.program(which, Place(folder=Path(), port=1, threads=1, gpus=(0, 1))).gpus == 2


def test_it_takes_a_gpu_where_there_is_one() -> None:
    place = Place(folder=Path(), port=1, threads=1, gpus=(0, 1))
    assert VLLM.program(vllm(), place).gpus == 1
    assert VLLM.program(vllm(options={"gpus": 0}), place).gpus == 0
    assert VLLM.program(vllm(), Place(folder=Path(), port=1, threads=1)).gpus == 0


def test_an_entry_may_name_the_adapter_that_its_requests_use() -> None:
    options = {"lora_modules": ["poet=/adapters/poet"], "lora_module": "poet"}
    assert "--lora-modules poet=/adapters/poet" in line(vllm(options=options))
    assert server_of(vllm(options=options)).model == "poet"


def test_tensor_parallel_may_differ_from_the_gpus() -> None:
    assert "--tensor-parallel-size 1" in line(vllm(options={"gpus": 2, "tensor_parallel": 1}))


def test_embedding_and_reranking_models_pool() -> None:
    assert "--runner pooling" in line(vllm(type="embedding"))
    assert "--runner pooling" in line(vllm(type="rerank"))


def test_weights_that_vllm_fetches_itself() -> None:
    which = vllm(files=(), hub="owner/repo@abc")
    assert line(which).startswith("vllm serve owner/repo --revision abc ")
    assert environment(which, hub_token="t")["HF_TOKEN"] == "t"
    assert "HF_HUB_OFFLINE" not in environment(which)


def test_weights_on_disk_need_no_hub_and_no_token() -> None:
    env = environment(vllm(), hub_token="t")
    assert env["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in env


def test_nothing_is_reported_to_anybody() -> None:
    assert environment(vllm())["VLLM_NO_USAGE_STATS"] == "1"


def test_threads_and_cache_are_bounded_on_the_cpu_only() -> None:
    on_cpu = environment(vllm(options={"cpu_kv_cache_gb": 2}))
    assert (on_cpu["OMP_NUM_THREADS"], on_cpu["VLLM_CPU_KVCACHE_SPACE"]) == ("3", "2")
    assert "OMP_NUM_THREADS" not in environment(vllm(options={"gpus": 1}), gpus=(0,))


def test_memory_is_weights_and_cache_until_measured() -> None:
    assert VLLM.memory_bytes(vllm()) == 5 * 10**9
    assert VLLM.memory_bytes(vllm(memory_bytes=7)) == 7


METRICS = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="m"} %d
vllm:generation_tokens_total{engine="0",model_name="m"} 1.5e+06
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
"""


def test_progress_is_read_from_the_metrics() -> None:
    before, same, after = (VLLM.progress(METRICS % tokens) for tokens in (10, 10, 11))
    assert before.busy == 3
    assert before == same
    assert before.mark != after.mark


async def test_without_a_tool_parser_it_is_not_asked_to_read_calls() -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    for options, sent in (({}, "none"), ({"tool_call_parser": "hermes"}, "auto")):
        upstream = Canned([b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'])
        await collect(VLLM.text.chat(upstream, chat(model=vllm(options=options), tools=tools)))
        assert upstream.asked[0][1]["tool_choice"] == sent


def test_adapters_with_entries_of_their_own_are_asked_for_by_their_modules() -> None:
    def adapter(name: str, rank: int) -> Adapter:
        entry = vllm(adapter_of="some/model", options={"lora_module": name, "lora_rank": rank})
        return Adapter(entry, Path("/m") / name)

    adapters = (adapter("model-1", 8), adapter("model-2", 48))
    assert line(vllm(), adapters=adapters).endswith(
        " --enable-lora --lora-modules model-1=/m/model-1 model-2=/m/model-2 --max-loras 3 --max-lora-rank 64"
    )
    assert "--max-loras 2" in line(vllm(), adapters=adapters, gpus=(0,))
    assert "--max-loras 4" in line(vllm(), adapters=adapters * 5, gpus=(0,))
    assert server_of(adapters[0].model).model == "model-1"


class _Tokenizer:
    """vLLM, as far as it tells tokens and keeps what it was asked."""

    adapter = -1

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def post(self, path: str, body: bytes) -> bytes:
        asked = msgspec.json.decode(body)
        if path == "/tokenize":
            return msgspec.json.encode({"token_strs": re.split(r"(<\|im_\w+\|>|\[INST\])", asked["prompt"])})
        self.asked.append(asked)
        if path.endswith("rerank"):
            return b'{"results": [{"index": 0, "relevance_score": 1}]}'
        return b'{"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}'


async def test_control_tokens_in_texts_are_escaped() -> None:
    upstream, call = _Tokenizer(), chat("a<|im_end|> <div> [INST]<|im_end|>", model=model("vllm"))
    await collect(Vllm.text.chat(upstream, call))  # type: ignore[arg-type]
    [said] = upstream.asked[0]["messages"]
    assert said == {"role": "user", "content": "a<\u200b|im_end|> <div> [\u200bINST]<\u200b|im_end|>"}
    await Vllm.rerank.rerank(upstream, model("vllm"), "<|im_start|>", ["b<|im_end|>"])  # type: ignore[arg-type]
    assert upstream.asked[1]["query"] == "<\u200b|im_start|>"
    assert upstream.asked[1]["documents"] == ["b<\u200b|im_end|>"]
