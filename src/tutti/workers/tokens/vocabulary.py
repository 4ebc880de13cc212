"""Writes a small GGUF file with another file's tokenizer and chat template.

llama.cpp cannot load a tokenizer without a model, and the model may be larger than this machine's memory
although only tokens are counted. So the tokenizer's entries in the header are copied byte for byte, and a
Llama with one layer of zeros, which is never evaluated, is put beside them: a few megabytes, as a sparse
file. Format: ggml's docs/gguf.md.
"""

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import BinaryIO

from tutti.workers.gguf import BadModel

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_U32, _F32, _STRING, _ARRAY = 4, 6, 8, 9
_TENSOR_F32, _TENSOR_F16 = 0, 1
_TOKENS = "tokenizer.ggml.tokens"
_WIDTH = 32
_ALIGNMENT = 32
_LONGEST = 1 << 28

Tensor = tuple[str, tuple[int, ...], int]
"""Name, shape, type."""


def write_vocabulary(model: Path, to: Path) -> None:
    """Write the small file to `to`. Raises BadModel if `model` is no GGUF file or has no tokenizer."""
    entries, count = _tokenizer(model)
    pairs = [*entries, *_llama(count)]
    tensors = _tensors(count)
    with to.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs))
        offset = 0
        for name, shape, kind in tensors:
            file.write(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
            offset += _padded(prod(shape) * (2 if kind == _TENSOR_F16 else 4))
        file.truncate(_padded(file.tell()) + offset)


def _tokenizer(path: Path) -> tuple[list[bytes], int]:
    """Return the raw bytes of each tokenizer entry, and the number of tokens in the vocabulary."""
    entries: list[bytes] = []
    tokens = 0
    try:
        with path.open("rb") as file:
            for start, key, length in _entries(file):
                if key.startswith("tokenizer.") or key == "general.name":
                    end = file.tell()
                    file.seek(start)
                    entries.append(file.read(end - start))
                tokens = length if key == _TOKENS else tokens
    except (OSError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise BadModel(f"its header cannot be read ({error})") from error
    if not tokens:
        raise BadModel("it has no tokeniser")
    return entries, tokens


def _entries(file: BinaryIO) -> Iterator[tuple[int, str, int]]:
    """Yield each entry's offset, its key, and how many items its value has.

    The file is at the entry's end then.
    """
    if file.read(4) != b"GGUF" or _number(file, "I") not in (2, 3):
        raise BadModel("it is no GGUF file of a known version")
    _number(file, "Q")  # tensors
    for _ in range(_number(file, "Q")):
        start = file.tell()
        key = file.read(_length(file)).decode()
        yield start, key, _skip(file, _number(file, "I"))


def _skip(file: BinaryIO, kind: int) -> int:
    if kind == _ARRAY:
        item, length = _number(file, "I"), _length(file)
    else:
        item, length = kind, 1
    if item == _STRING:
        for _ in range(length):
            file.seek(_length(file), 1)
    else:
        file.seek(length * _SIZES[item], 1)
    return length


def _llama(tokens: int) -> list[bytes]:
    numbers = {
        "vocab_size": tokens,
        "context_length": 512,
        "embedding_length": _WIDTH,
        "block_count": 1,
        "feed_forward_length": _WIDTH,
        "rope.dimension_count": _WIDTH,
        "attention.head_count": 1,
        "attention.head_count_kv": 1,
    }
    architecture = _text("general.architecture") + struct.pack("<I", _STRING) + _text("llama")
    epsilon = _text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _F32, 1e-5)
    pairs = (_text(f"llama.{name}") + struct.pack("<II", _U32, value) for name, value in numbers.items())
    return [architecture, epsilon, *pairs]


def _tensors(tokens: int) -> list[Tensor]:
    squares = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return [
        ("token_embd.weight", (_WIDTH, tokens), _TENSOR_F16),
        ("output_norm.weight", (_WIDTH,), _TENSOR_F32),
        *((f"blk.0.{name}.weight", (_WIDTH,), _TENSOR_F32) for name in ("attn_norm", "ffn_norm")),
        *((f"blk.0.{name}.weight", (_WIDTH, _WIDTH), _TENSOR_F16) for name in squares),
    ]


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _length(file: BinaryIO) -> int:
    length = _number(file, "Q")
    if length > _LONGEST:
        raise BadModel("its header is damaged")
    return length


def _number(file: BinaryIO, code: str) -> int:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(f"<{code}")))[0]
