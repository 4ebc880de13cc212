"""Our conversions, served by llama.cpp, against numpy in float64: same tokens, same log-probabilities."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from safetensors.numpy import load
from tests.support.adapters import adapter, write
from tests.support.engines import model, running
from tests.support.numpy_llama import HEAD, HEADS, HEADS_KV, HIDDEN, INNER, LAYERS, Tiny, tiny, tokenizer
from tokenizers import Regex, pre_tokenizers

from tutti.base.model import Model
from tutti.engines.files import ADAPTER_FILE
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.place import Adapter, Place
from tutti.features.models.upload_adapter import facts_of

TEXT = "hello wörld, 12 cafés don't  sleep\n"
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHAPES = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (HEADS_KV * HEAD, HIDDEN),
    "self_attn.v_proj": (HEADS_KV * HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
BASE = model(engine="llamacpp", options={"context": 256, "slots": 1})


def worker(name: str, *arguments: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tutti.workers.uploads.{name}", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def converted(tmp_path: Path, made: Tiny) -> Path:
    source = write(tmp_path / "source", made.files())
    folder = tmp_path / "served"
    folder.mkdir()
    worker("convert", source, folder / "model.gguf")
    return folder


async def told(address: str, ids: list[int], lora: int | None = None) -> Mapping[int, float]:
    """Log-probabilities of the likeliest next tokens."""
    body = {"prompt": ids, "n_predict": 1, "n_probs": 20, "cache_prompt": False, "temperature": 0}
    body["logit_bias"] = [[tokenizer().token_to_id("a"), 1000]]  # half a letter would not be answered
    body["lora"] = [{"id": lora or 0, "scale": 0.0 if lora is None else 1.0}]
    async with httpx.AsyncClient(base_url=address) as client:
        answer = (await client.post("/completion", json=body)).json()
    return {top["id"]: top["logprob"] for top in answer["completion_probabilities"][0]["top_logprobs"]}


def assert_close(told: Mapping[int, float], reference: np.ndarray) -> None:
    assert int(reference.argmax()) == max(told, key=lambda id: told[id])
    for id, logprob in told.items():
        assert logprob == pytest.approx(float(reference[id]), abs=0.05)  # keys and values are float16 there


@pytest.mark.parametrize(
    "made",
    [
        tiny(),
        tiny("MistralForCausalLM", seed=1, sliding_window=None),
        tiny("Qwen2ForCausalLM", seed=2, use_sliding_window=False, sliding_window=4096),
        tiny("Qwen3ForCausalLM", seed=3),
        tiny(seed=4, rope_scaling=LLAMA3),
    ],
    ids=["llama", "mistral", "qwen2", "qwen3", "llama 3's positions"],
)
async def test_a_converted_model_computes_what_the_original_does(tmp_path: Path, made: Tiny) -> None:
    folder = converted(tmp_path, made)
    async with running(LlamaCpp(), BASE, place=Place(folder=folder, port=0, threads=1)) as engine:
        ids = tokenizer().encode(TEXT).ids
        body = msgspec.json.encode({"content": TEXT, "add_special": True, "parse_special": True})
        assert msgspec.json.decode(await engine.upstream.post("/tokenize", body))["tokens"] == ids
        assert_close(await told(engine.address, ids), made.logprobs(ids))
        long = (ids * 8)[:200]
        assert_close(await told(engine.address, long), made.logprobs(long))


HARD = "hello's HELLO'S 123456 12 a12 heA x!\n\n  \n !/a\ta\u0301 naïve   it  'S 你好１２ don't\r\n!"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def by_pattern(pattern: str) -> pre_tokenizers.PreTokenizer:
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), letters])


@pytest.mark.parametrize(
    ("rules", "whole_words"),
    [
        (pre_tokenizers.ByteLevel(add_prefix_space=False), False),
        (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
            False,
        ),
        (by_pattern(WORDS + r"\p{N}" + REST), False),
        (by_pattern(WORDS + r"\p{N}{1,3}" + REST), True),
        (by_pattern(TEKKEN), True),
    ],
    ids=["gpt-2", "smollm", "qwen2", "llama 3", "mistral"],
)
async def test_a_converted_tokenizer_splits_as_the_original_does(
    tmp_path: Path, rules: pre_tokenizers.PreTokenizer, whole_words: bool
) -> None:
    made = tokenizer(rules, whole_words=whole_words)
    files = {**tiny().files(), "tokenizer.json": made.to_str().encode()}
    write(tmp_path / "source", files)
    (tmp_path / "served").mkdir()
    worker("convert", tmp_path / "source", tmp_path / "served" / "model.gguf")
    async with running(
        LlamaCpp(), BASE, place=Place(folder=tmp_path / "served", port=0, threads=1)
    ) as engine:
        for text in (TEXT, HARD):
            body = msgspec.json.encode({"content": text, "add_special": True, "parse_special": True})
            told = msgspec.json.decode(await engine.upstream.post("/tokenize", body))["tokens"]
            assert told == made.encode(text).ids


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}}], ids=str)
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
async def test_a_converted_adapter_changes_what_peft_would(
    tmp_path: Path, architecture: str, config: dict[str, object]
) -> None:
    made, files = tiny(architecture), adapter(5, SHAPES, LAYERS, rank=3, size=0.15, **config)
    folder, adapted = converted(tmp_path, made), tmp_path / "adapter"
    write(adapted, files)
    about = tmp_path / "base.json"
    about.write_bytes(msgspec.json.encode(facts_of(BASE, folder, LlamaCpp())))
    worker("lora", adapted, adapted / ADAPTER_FILE, about)
    entry: Model = msgspec.structs.replace(BASE, name="adapter", adapter_of=BASE.name)
    place = Place(folder=folder, port=0, threads=1, adapters=(Adapter(entry, adapted),))
    async with running(LlamaCpp(), BASE, place=place) as engine:
        ids = tokenizer().encode(TEXT).ids
        assert_close(await told(engine.address, ids, lora=0), made.logprobs(ids, peft(files, config)))
        assert_close(await told(engine.address, ids), made.logprobs(ids))


def peft(files: Mapping[str, bytes], config: Mapping[str, object]) -> Mapping[str, np.ndarray]:
    """What PEFT adds to each weight: scale * B A."""
    tensors = load(files["adapter_model.safetensors"])
    added = {}
    for name, a in tensors.items():
        if name.endswith(".lora_A.weight"):
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            alpha = 3 if "alpha_pattern" in config and module.endswith("q_proj") else 8
            scale = alpha / (np.sqrt(len(a)) if "use_rslora" in config else len(a))
            added[module] = scale * tensors[name.replace("lora_A", "lora_B")].astype(np.float64) @ a
    return added
