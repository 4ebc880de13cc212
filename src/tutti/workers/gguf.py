"""What a worker has to know out of a GGUF header before llama.cpp reads the file (ggml's docs/gguf.md)."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_U32, _STRING, _ARRAY, _U64 = 4, 8, 9, 10
_LONGEST = 1 << 24
_BYTES_A_VALUE = 2  # the cache holds float16

Value = int | float | bool | str | tuple[int | float | bool, ...]


Header = Mapping[str, Value]


class BadModel(Exception):
    pass


def read_header(path: Path) -> Header:
    """Raises BadModel for what is no GGUF file."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise BadModel("it is no GGUF file")
            if _scalar(file, _U32) not in (2, 3):
                raise BadModel("its GGUF version is not supported")
            _scalar(file, _U64)  # tensors
            return dict(_pairs(file, int(_scalar(file, _U64))))
    except (OSError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise BadModel(f"its header cannot be read ({error})") from error


def cache_bytes_a_token(header: Header) -> int:
    """0 where the header does not tell."""
    prefix = header.get("general.architecture", "")
    layers = _number(header, f"{prefix}.block_count")
    heads = _number(header, f"{prefix}.attention.head_count")
    if not (layers and heads):
        return 0
    width = _number(header, f"{prefix}.embedding_length") // heads
    key = _number(header, f"{prefix}.attention.key_length") or width
    value = _number(header, f"{prefix}.attention.value_length") or width
    shared = header.get(f"{prefix}.attention.head_count_kv", heads)
    total_heads = sum(shared) if isinstance(shared, tuple) else layers * int(shared)
    return int(total_heads) * (key + value) * _BYTES_A_VALUE


def says_pooling(header: Header) -> bool:
    """Whether it was made to embed or to rank, and so tells how."""
    return f"{header.get('general.architecture', '')}.pooling_type" in header


def _number(header: Header, key: str) -> int:
    value = header.get(key, 0)
    return int(max(value, default=0) if isinstance(value, tuple) else value)


def _pairs(file: BinaryIO, count: int) -> Iterator[tuple[str, Value]]:
    """Up to the tokeniser, which is long and comes last."""
    for _ in range(count):
        key = _string(file)
        if key.startswith("tokenizer."):
            return
        yield key, _value(file, int(_scalar(file, _U32)))


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _scalar(file, kind)
    item, length = int(_scalar(file, _U32)), _length(file)
    if item == _STRING:
        for _ in range(length):
            _string(file)
        return ()
    return struct.unpack(f"<{length}{_SCALARS[item]}", file.read(length * struct.calcsize(_SCALARS[item])))


def _string(file: BinaryIO) -> str:
    return file.read(_length(file)).decode()


def _length(file: BinaryIO) -> int:
    length = int(_scalar(file, _U64))
    if length > _LONGEST:
        raise BadModel("its header is damaged")
    return length


def _scalar(file: BinaryIO, kind: int) -> int | float | bool:
    code = "<" + _SCALARS[kind]
    return struct.unpack(code, file.read(struct.calcsize(code)))[0]
