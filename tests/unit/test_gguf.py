"""What a worker reads of a header: the keys of a model, without its tokeniser."""

import struct
from pathlib import Path

import pytest
from gguf import GGUFWriter
from tests.support.weights import gguf

from tutti.base.gguf import BadGguf, read_gguf, read_model_keys
from tutti.workers.gguf import BadModel, cache_bytes_a_token, read_header


def written(path: Path, heads_kv: int | list[int], tokens: int = 5000) -> Path:
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(heads_kv)
    writer.add_token_list([f"t{number}" for number in range(tokens)])
    writer.add_token_scores([0.5] * tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("heads_kv", "cached"), [(2, 3 * 2), ([2, 0, 1], 3)])
def test_the_cache_of_a_token_follows_from_heads_of_all_layers_or_of_each(
    tmp_path: Path, heads_kv: int | list[int], cached: int
) -> None:
    header = read_header(written(tmp_path / "model.gguf", heads_kv))
    assert cache_bytes_a_token(header) == cached * (16 + 16) * 2


def test_the_tokeniser_is_left_out_and_its_long_arrays_are_only_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "model.gguf", [2, 0, 1])
    assert not [key for key in read_model_keys(path).lengths if key.startswith("tokenizer.")]
    whole = read_gguf(path)
    assert whole.lengths["tokenizer.ggml.scores"] == 5000
    assert list(whole.arrays) == ["llama.attention.head_count_kv"]


def test_a_key_that_reaches_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k"
    for array in (struct.pack("<IIQ", 9, 4, 4096), struct.pack("<IIQ", 9, 4, 2**60)):
        path.write_bytes(head + array)
        with pytest.raises(BadGguf):
            read_model_keys(path)
    path.write_bytes(b"GGML" + gguf()[4:])
    with pytest.raises(BadModel, match="does not start with GGUF"):
        read_header(path)
