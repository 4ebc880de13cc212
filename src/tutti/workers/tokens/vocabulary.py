"""Writes a small GGUF file with another file's tokenizer and chat template.

llama.cpp cannot load a tokenizer without a model, and the model may be larger than this machine's memory
although only tokens are counted. So the tokenizer's entries in the header are copied byte for byte, and a
Llama with one layer of zeros, which is never evaluated, is put beside them: a few megabytes, as a sparse
file. Format: ggml's docs/gguf.md.
"""

import struct
from math import prod
from pathlib import Path

from tutti.base.gguf import BadGguf, read_entries
from tutti.workers.gguf import BadModel

_U32, _F32, _STRING = 4, 6, 8
_TENSOR_F32, _TENSOR_F16 = 0, 1
_TOKENS = "tokenizer.ggml.tokens"
_WIDTH = 32
_ALIGNMENT = 32

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
    try:
        header, entries = read_entries(path, ("tokenizer.", "general.name"))
    except (OSError, BadGguf) as error:
        raise BadModel(f"its header cannot be read ({error})") from error
    tokens = header.lengths.get(_TOKENS, 0)
    if not tokens:
        raise BadModel("it has no tokeniser")
    return entries, tokens


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
