"""Entries for what is in no catalogue."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import weights
from tests.support.hub import COMMIT, Hub, sha256

from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.describe import describe
from tutti.catalog.entries import check_model
from tutti.catalog.sources.base import PullFailed
from tutti.parts.engines import ENGINES

GGUF = weights.gguf()
GGUFS = {f"m-{quant}.gguf": GGUF for quant in ("IQ2_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q8_0")}
SPLIT = {f"big-Q8_0/big-Q8_0-0000{i}-of-00003.gguf": weights.gguf(size=4096 + 32 * i) for i in (1, 2, 3)}
QWEN_LIKE = {"gguf": {"context_length": 777, "chat_template": "{% if tools %}<think>{% endif %}"}}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


async def described(hub: Hub, name: str) -> Model:
    model = await describe(name, Settings(hub_url=hub.url), ENGINES)
    check_model(model)
    return model


def names(model: Model) -> list[str]:
    return [file.name for file in model.files]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("o/r", "m-Q4_K_M.gguf"),
        ("o/r:Q8_0", "m-Q8_0.gguf"),
        ("o/r:q8_0", "m-Q8_0.gguf"),
        ("o/r@main:m-IQ2_M.gguf", "m-IQ2_M.gguf"),
    ],
)
async def test_a_gguf_repository_gives_the_named_quantisation_or_q4_k_m(
    hub: Hub, name: str, file: str
) -> None:
    hub.repos["o/r"] = {**GGUFS, "mmproj-Q4_K_M.gguf": GGUF, "README.md": b"hi"}
    hub.about["o/r"] = QWEN_LIKE
    model = await described(hub, name)
    assert names(model) == [file]
    assert model.files[0].sha256 == sha256(GGUF)
    assert model.files[0].sources[0].hub == f"o/r@{COMMIT}:{file}"
    assert (model.name, model.type, model.engine, model.context_length) == (name, "chat", "llamacpp", 777)
    assert model.capabilities == {"json", "tools", "reasoning"}


async def test_all_parts_of_a_split_file_are_taken(hub: Hub) -> None:
    hub.repos["o/r"] = {**GGUFS, **SPLIT}
    model = await described(hub, "o/r:big-Q8_0/big-Q8_0-00001-of-00003.gguf")
    assert names(model) == [path.split("/")[1] for path in sorted(SPLIT)]
    assert [file.sources[0].hub for file in model.files] == [f"o/r@{COMMIT}:{path}" for path in sorted(SPLIT)]


async def test_a_split_file_with_a_missing_part_is_refused(hub: Hub) -> None:
    hub.repos["o/r"] = dict(list(SPLIT.items())[:2])
    with pytest.raises(PullFailed, match="2 of the 3 parts"):
        await described(hub, "o/r")


async def test_a_quantisation_that_is_not_there_is_an_error_that_lists_what_is(hub: Hub) -> None:
    hub.repos["o/r"] = GGUFS
    with pytest.raises(PullFailed, match=r"has no Q2_K; it has m-IQ2_M\.gguf, "):
        await described(hub, "o/r:Q2_K")


async def test_a_snapshot_is_for_vllm_and_its_context_is_read(hub: Hub) -> None:
    hub.repos["o/r"] = {
        "model.safetensors": weights.safetensors(),
        "config.json": b'{"max_position_embeddings": 4096}',
        "chat_template.jinja": b"{{ messages }}",
        "pytorch_model.bin": b"pickle",
    }
    model = await described(hub, "o/r")
    assert (model.engine, model.type, model.context_length) == ("vllm", "chat", 4096)
    assert names(model) == ["model.safetensors", "config.json", "chat_template.jinja"]


@pytest.mark.parametrize(("tag", "kind"), [("sentence-similarity", "embedding"), ("text-ranking", "rerank")])
async def test_the_hub_says_what_a_model_is_for(hub: Hub, tag: str, kind: str) -> None:
    hub.repos["o/r"] = GGUFS
    hub.about["o/r"] = {"pipeline_tag": tag}
    assert (await described(hub, "o/r")).type == kind


async def test_a_repository_of_pickles_is_refused(hub: Hub) -> None:
    hub.repos["o/r"] = {"pytorch_model.bin": b"pickle", "config.json": b"{}"}
    with pytest.raises(PullFailed, match="has no weights"):
        await described(hub, "o/r")


async def test_an_unknown_repository_is_an_error(hub: Hub) -> None:
    with pytest.raises(PullFailed, match="answered 404"):
        await described(hub, "o/none")


async def test_a_hub_that_answers_with_something_else_is_an_error(hub: Hub) -> None:
    hub.repos["o/r"] = {}
    hub.about["o/r"] = {"siblings": "many"}
    with pytest.raises(PullFailed, match="in an unknown way"):
        await described(hub, "o/r")


async def test_a_local_gguf_is_described_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "My model (1).gguf"
    path.write_bytes(weights.gguf({"tokenizer.chat_template": "x", "general.name": "Mine"}))
    model = await describe(str(path), Settings(), ENGINES)
    check_model(model)
    assert (model.name, model.display_name, model.type, model.context_length) == (
        "My-model-1-",
        "Mine",
        "chat",
        2048,
    )
    assert model.files[0].sources[0].path == str(path)


async def test_a_local_gguf_without_a_template_is_a_language_model(tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    path.write_bytes(weights.gguf())
    assert (await describe(str(path), Settings(), ENGINES)).type == "language"


async def test_a_local_embedding_or_rerank_gguf_is_recognised(tmp_path: Path) -> None:
    for pooling, kind in ((1, "embedding"), (4, "rerank")):
        path = tmp_path / f"{kind}.gguf"
        path.write_bytes(weights.gguf({"general.architecture": "bert", "bert.pooling_type": pooling}))
        assert (await describe(str(path), Settings(), ENGINES)).type == kind


async def test_a_local_split_gguf_needs_all_of_its_parts(tmp_path: Path) -> None:
    for index in (1, 2):
        (tmp_path / f"m-0000{index}-of-00002.gguf").write_bytes(weights.gguf())
    model = await describe(str(tmp_path / "m-00001-of-00002.gguf"), Settings(), ENGINES)
    assert names(model) == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(PullFailed, match="1 of the 2 parts"):
        await describe(str(tmp_path / "m-00001-of-00002.gguf"), Settings(), ENGINES)


async def test_a_local_folder_is_a_snapshot_without_its_pickles(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights.safetensors())
    (folder / "config.json").write_text('{"text_config": {"max_position_embeddings": 64}}')
    (folder / "training_args.bin").write_bytes(b"pickle")
    model = await describe(str(folder), Settings(), ENGINES)
    check_model(model)
    assert (model.name, model.engine, model.context_length) == ("mine", "vllm", 64)
    assert names(model) == ["config.json", "model.safetensors"]


async def test_what_is_neither_a_file_nor_a_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PullFailed, match="neither a file here nor a repository's name"):
        await describe("what is this", Settings(), ENGINES)
    with pytest.raises(PullFailed, match=r"neither a \.gguf file nor a folder"):
        await describe(str(tmp_path), Settings(), ENGINES)
