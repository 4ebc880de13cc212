import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import weights
from tests.support.budget import examples

from tutti.base.gguf import BadGguf, read_gguf
from tutti.catalog.weights import BadWeights, check_weights, is_data, is_safe_name

GOOD = weights.gguf({"tokenizer.chat_template": "hi"})
HEAD = 24


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path


def with_tensor(**changes: int) -> bytes:
    """One tensor named `w` whose description is changed."""
    at = {"dimensions": 1, "size": 1024, "type": 0, "offset": 0, **changes}
    shape = b"".join(struct.pack("<Q", at["size"]) for _ in range(min(at["dimensions"], 9)))
    tensor = struct.pack("<Q", 1) + b"w" + struct.pack("<I", at["dimensions"]) + shape
    tensor += struct.pack("<IQ", at["type"], at["offset"])
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor
    return data + b"\0" * (-len(data) % 32) + b"\0" * 4096


def test_a_sound_header_is_read(tmp_path: Path) -> None:
    header = read_gguf(written(tmp_path, GOOD))
    assert len(header.shapes) == 2
    assert header.number("llama.context_length") == 2048
    assert header.text("tokenizer.chat_template") == "hi"


def test_a_tensor_within_the_file_is_accepted(tmp_path: Path) -> None:
    assert read_gguf(written(tmp_path, with_tensor())).shapes == {"w": [1024]}


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 4096},
        {"offset": 2**63},
        {"offset": 2**64 - 32},
        {"offset": 33},
        {"size": 2**62},
        {"size": 1025},
        {"dimensions": 5},
        {"dimensions": 2**32 - 1},
        {"dimensions": 4, "size": 2**16},
        {"type": 2, "size": 33},
        {"type": 999, "size": 2**40},
    ],
    ids=str,
)
def test_a_tensor_that_leaves_the_file_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(BadGguf):
        read_gguf(written(tmp_path, with_tensor(**changes)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + GOOD[4:],
        b"GGUF" + struct.pack("<I", 1) + GOOD[8:],
        b"GGUF" + struct.pack(">I", 3) + GOOD[8:],
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0) + GOOD[HEAD:],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63) + GOOD[HEAD:],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**64 - 1) + b"x" * 100,
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1)
        + b"k"
        + struct.pack("<IIQ", 9, 8, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 9, 1),
        GOOD[:-1],
        weights.gguf({"general.alignment": 3}),
        weights.gguf({"general.alignment": 0}),
        weights.gguf({"general.alignment": "x"}),
    ],
)
def test_a_false_header_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadGguf):
        read_gguf(written(tmp_path, data))


@settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 250), value=st.binary(min_size=1, max_size=9), end=st.integers(0, len(GOOD)))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path: Path, at: int, value: bytes, end: int
) -> None:
    data = (GOOD[:at] + value + GOOD[at + len(value) :])[: max(end, 1)]
    with contextlib.suppress(BadGguf):
        read_gguf(written(tmp_path, data))


def test_sound_safetensors_are_accepted(tmp_path: Path) -> None:
    check_weights(written(tmp_path, weights.safetensors()), "x.safetensors")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 3) + b"{x}",
        weights.safetensors()[:-1],
        struct.pack("<Q", 34) + b'{"w":{"data_offsets":[-1,0]}}     ',
        struct.pack("<Q", 8) + b'{"w": 1}',
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_false_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadWeights):
        check_weights(written(tmp_path, data), "x.safetensors")


@pytest.mark.parametrize("name", ["a.json", "1_Pooling/config.json", "Model-Q4_K_M.gguf", "a b.txt"])
def test_plain_names_are_safe(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/..",
        "a//b",
        "/a",
        "a/",
        "a\\b",
        "C:a",
        ".a",
        "a/.b",
        "a\0",
        "a\n",
        "ä",
        "a" * 500,
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_safe_name(name)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "x.pt", "x.pth", "x.pkl", "x.py", "x.ckpt", "x", "x.json.py"]
)
def test_pickles_and_code_are_no_data(name: str) -> None:
    assert not is_data(name)
