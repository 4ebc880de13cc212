"""The embedding worker: against known values with real weights, against numpy on a small model."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from safetensors.numpy import save_file
from tests.support.engines import Running, running
from tests.support.fleet import until
from tests.support.weights import MINILM, pulled
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tutti.base.model import Model
from tutti.engines.ours import Ours
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal

ENGINE = Ours()
MODEL = Model(name="m", type="embedding", engine="ours")
QUERY = "how much protein per day"
ANSWER = "The recommended protein intake is 0.8 g per kg of body weight."
UNRELATED = "The lighthouse stood on the rocky coast."

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minilm() -> AsyncIterator[Running]:
    folder = await asyncio.to_thread(pulled, MINILM)
    async with running(ENGINE, MODEL, place=Place(folder, 0, 2), within_s=60) as engine:
        yield engine


async def vectors(engine: Running, texts: list[str] | list[list[int]]) -> np.ndarray[Any, Any]:
    found = await ENGINE.embedding.embed(engine.upstream, MODEL, texts)
    return np.array([np.frombuffer(vector, "<f4") for vector in found.vectors])


# --- real weights -----------------------------------------------------------------------------------------


async def test_texts_that_mean_the_same_are_close(minilm: Running) -> None:
    found = await vectors(minilm, [QUERY, ANSWER, UNRELATED])
    assert found.shape == (3, 384)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    cosines = found @ found[0]
    assert cosines[1] == pytest.approx(0.689, abs=0.002)
    assert cosines[2] == pytest.approx(-0.010, abs=0.002)


async def test_a_text_has_the_same_vector_in_any_company(minilm: Running) -> None:
    texts = [f"Sentence {'very ' * (n % 40)}number {n}" for n in range(100)]
    together = await vectors(minilm, texts)
    alone = np.concatenate([await vectors(minilm, [text]) for text in texts[::17]])
    assert np.abs(together[::17] - alone).max() < 1e-5


async def test_long_texts_are_cut_to_what_the_model_takes(minilm: Running) -> None:
    found = await ENGINE.embedding.embed(minilm.upstream, MODEL, ["word " * 254, "word " * 5000])
    assert found.vectors[0] == found.vectors[1]
    assert found.prompt_tokens == 512


async def test_special_tokens_in_a_text_are_text(minilm: Running) -> None:
    for special in ("[SEP]", "[PAD]", "[CLS]", "[MASK]"):
        found = await ENGINE.embedding.embed(minilm.upstream, MODEL, [f"a {special} b"])
        assert found.prompt_tokens > len(["[CLS]", "a", "x", "b", "[SEP]"])


async def test_token_ids_have_the_vector_of_their_text(minilm: Running) -> None:
    [hello] = await vectors(minilm, ["hello"])
    for ids in ([101, 7592, 102], [7592]):
        [by_ids] = await vectors(minilm, [ids])
        assert by_ids == pytest.approx(hello, abs=1e-6)
    [long] = await vectors(minilm, [[7592] * 5000])
    assert np.linalg.norm(long) == pytest.approx(1, abs=1e-5)
    with pytest.raises(Refusal) as refused:
        await vectors(minilm, [[30522]])
    assert (refused.value.status, ENGINE.error(refused.value).param) == (400, "input")


async def test_odd_texts_have_vectors_too(minilm: Running) -> None:
    found = await vectors(minilm, ["", " ", "😀", "\0", "日本語"])
    assert np.isfinite(found).all()
    assert (await ENGINE.embedding.embed(minilm.upstream, MODEL, [])).vectors == []


async def test_documents_are_ranked_by_similarity(minilm: Running) -> None:
    found = await ENGINE.rerank.rerank(minilm.upstream, MODEL, QUERY, [UNRELATED, ANSWER])
    assert found.scores == pytest.approx([0.495, 0.844], abs=0.002)
    assert found.prompt_tokens > 20


async def test_progress_moves_with_the_batches(minilm: Running) -> None:
    async with aiohttp.ClientSession() as session:

        async def progress() -> Any:
            async with session.get(minilm.address + ENGINE.progress_path) as response:
                return ENGINE.progress(await response.read())

        idle = await progress()
        assert idle.busy == 0
        work = asyncio.create_task(vectors(minilm, ["word " * 250] * 200))
        marks = set()
        while not work.done():
            seen = await progress()
            marks.add(seen.mark)
            assert seen.busy <= 1
            await asyncio.sleep(0.02)
        assert len(marks) > 3
        await work


async def test_a_client_that_leaves_stops_the_work(minilm: Running) -> None:
    async with aiohttp.ClientSession() as session:

        async def busy() -> int:
            async with session.get(minilm.address + "/progress") as response:
                return json.loads(await response.read())["busy"]

        work = asyncio.create_task(vectors(minilm, ["word " * 250] * 2000))
        await until(busy)
        work.cancel()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if await busy() == 0:
                return
    raise AssertionError("it works on")


async def test_a_body_that_is_wrong_is_refused(minilm: Running) -> None:
    for body in (b"{", b'{"input": 5}', b'{"input": [["a"]]}'):
        with pytest.raises(Refusal) as refused:
            await minilm.upstream.post("/v1/embeddings", body)
        assert refused.value.status == 400


# --- a small model against numpy --------------------------------------------------------------------------

WIDTH, HEADS, LAYERS, INNER, WORDS, LENGTH = 12, 3, 2, 20, 30, 16


def _weights() -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (LENGTH, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    linear = {"embeddings.LayerNorm": None}
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{name}.attention.{part}.weight"] = (WIDTH, WIDTH)
            shapes[f"{name}.attention.{part}.bias"] = (WIDTH,)
        shapes |= {
            f"{name}.intermediate.dense.weight": (INNER, WIDTH),
            f"{name}.intermediate.dense.bias": (INNER,),
        }
        shapes |= {f"{name}.output.dense.weight": (WIDTH, INNER), f"{name}.output.dense.bias": (WIDTH,)}
        linear |= {f"{name}.attention.output.LayerNorm": None, f"{name}.output.LayerNorm": None}
    for name in linear:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return {f"bert.{name}": random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def _reference(w: Mapping[str, Any], ids: list[int], pooling: str, normalise: bool) -> np.ndarray[Any, Any]:
    """BERT as in its paper, for one text."""

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"bert.{name}.weight"].T + w[f"bert.{name}.bias"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"bert.{name}.weight"] + w[f"bert.{name}.bias"]

    gelu = np.vectorize(lambda v: v / 2 * (1 + math.erf(v / math.sqrt(2))))
    x = w["bert.embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + w["bert.embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["bert.embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name, size = f"encoder.layer.{layer}", WIDTH // HEADS
        q, k, v = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        attended = linear(np.concatenate(heads, -1), f"{name}.attention.output.dense")
        x = norm(x + attended, f"{name}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{name}.intermediate.dense"))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    pooled = {"mean": x.mean(0), "cls": x[0], "max": x.max(0)}[pooling]
    return pooled / np.linalg.norm(pooled) if normalise else pooled


def _small_model(folder: Path, pooling: str, normalise: bool, **config: Any) -> None:
    save_file(_weights(), folder / "model.safetensors")
    bert = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": LENGTH,
    }
    (folder / "config.json").write_text(json.dumps({**bert, **config}))
    (folder / "1_Pooling").mkdir()
    key = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}[pooling]
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{key}": True}))
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    (folder / "modules.json").write_text(json.dumps([{"type": f"models.{kind}"} for kind in kinds]))
    tokenizer = Tokenizer(models.WordLevel({f"w{n}": n for n in range(WORDS)}, unk_token="w1"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "w2 $A w3", special_tokens=[("w2", 2), ("w3", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(("pooling", "normalise"), [("mean", True), ("cls", True), ("max", False)])
async def test_vectors_are_those_of_the_architecture(tmp_path: Path, pooling: str, normalise: bool) -> None:
    _small_model(tmp_path, pooling, normalise)
    texts = {"w4 w5 w6": [2, 4, 5, 6, 3], "w9": [2, 9, 3], "w4 " * 50: [2, *[4] * (LENGTH - 2), 3]}
    async with running(ENGINE, MODEL, place=Place(tmp_path, 0, 1), within_s=60) as engine:
        found = await vectors(engine, list(texts))
    for vector, ids in zip(found, texts.values(), strict=True):
        assert vector == pytest.approx(_reference(_weights(), ids, pooling, normalise), abs=1e-4)


async def test_a_graph_is_made_once_and_again_when_the_weights_change(tmp_path: Path) -> None:
    _small_model(tmp_path, "mean", True)
    made = []
    for _ in range(2):
        async with running(ENGINE, MODEL, place=Place(tmp_path, 0, 1), within_s=60):
            (graph,) = tmp_path.glob("*.onnx")
            made.append(graph.stat().st_mtime_ns)
    assert made[0] == made[1]
    save_file({name: weight * 2 for name, weight in _weights().items()}, tmp_path / "model.safetensors")
    async with running(ENGINE, MODEL, place=Place(tmp_path, 0, 1), within_s=60):
        assert next(tmp_path.glob("*.onnx")).stat().st_mtime_ns > made[0]


async def test_another_architecture_is_refused_with_a_message(tmp_path: Path) -> None:
    _small_model(tmp_path, "mean", True, model_type="xlm-roberta")
    program = ENGINE.program(MODEL, Place(tmp_path, 1, 1))
    ended = await asyncio.create_subprocess_exec(*program.argv, stderr=asyncio.subprocess.PIPE)
    _, message = await ended.communicate()
    assert ended.returncode == 1
    assert b"xlm-roberta" in message
