"""The reader of GGUF headers. It reads with suspicion: every length and offset must lie within the file.

Ollama CVE-2026-7482 was a tensor offset that was believed. Format: ggml's docs/gguf.md, versions 2 and 3,
little-endian.
"""

import mmap
import struct
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

_LEAST_BYTES = 24
_MAX_TENSORS = 200_000
_MAX_KEYS = 20_000
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_MAX_KEPT_BYTES = 32 * 1024 * 1024
"""Memory of all keys, names, texts and short arrays together."""
_MAX_STRINGS = 4_000_000
"""Strings in all arrays together, such as a vocabulary and its merges."""
_MAX_KEPT_NUMBERS = 4096
"""Numbers of an array that is kept: those of every layer, but not those of every token."""
_NUMBER_BYTES = 40
"""Memory that a number takes in a tuple."""
_TOKENISER = "tokenizer."

_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING = 8
_ARRAY = 9
_U32 = _SCALARS[4]
_U64 = _SCALARS[10]

_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
"""ggml's tensor types: (values a block, bytes a block). A type that is newer than this table counts as
one byte for 8 values, less than any real one takes; llama.cpp itself refuses the types it does not know."""

Value = int | float | bool | str


class BadGguf(Exception):
    """The file is no GGUF file, or it is damaged or malicious."""


@dataclass(frozen=True)
class Gguf:
    """A header. `values` holds the scalars and strings, `lengths` the lengths of all arrays, `arrays` the
    numbers of the short ones, `shapes` the shapes of the tensors by name, innermost first."""

    values: Mapping[str, Value]
    lengths: Mapping[str, int]
    arrays: Mapping[str, Sequence[int | float | bool]]
    shapes: Mapping[str, Sequence[int]]

    def text(self, key: str) -> str:
        """Return a text of the header, or an empty one where it has none."""
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a whole number of the header, or 0 where it has none."""
        value = self.values.get(key, 0)
        return value if isinstance(value, int) else 0


def read_gguf(path: Path) -> Gguf:
    """Read and check the whole header. Raises BadGguf, or OSError."""
    with _mapped(path) as data:
        return _Reader(data).read()


def read_model_keys(path: Path) -> Gguf:
    """Read the keys of a model up to those of its tokeniser, which are long and come last. Tensors are not
    read. Raises BadGguf, or OSError."""
    with _mapped(path) as data:
        return _Reader(data).read_until(_TOKENISER)


def read_entries(path: Path, prefixes: tuple[str, ...]) -> tuple[Gguf, list[bytes]]:
    """Read all keys, and the bytes, as they stand in the file, of those that begin with one of the prefixes.
    Tensors are not read. Raises BadGguf, or OSError."""
    with _mapped(path) as data:
        return _Reader(data).read_entries(prefixes)


@contextmanager
def _mapped(path: Path) -> Generator[mmap.mmap]:
    if path.stat().st_size < _LEAST_BYTES:
        raise BadGguf("it is shorter than a header")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


class _Reader:
    """A cursor over the mapped file, which reads once."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self._at = 0
        self._kept_bytes = 0
        self._strings = 0
        self._values: dict[str, Value] = {}
        self._lengths: dict[str, int] = {}
        self._arrays: dict[str, Sequence[int | float | bool]] = {}
        self._shapes: dict[str, Sequence[int]] = {}

    def read(self) -> Gguf:
        tensors, keys = self._counts()
        for _ in range(keys):
            self._pair(self._string())
        spans = [self._tensor() for _ in range(tensors)]
        self._check_spans(spans)
        return self._header()

    def read_until(self, prefix: str) -> Gguf:
        _, keys = self._counts()
        for _ in range(keys):
            key = self._string()
            if key.startswith(prefix):
                break
            self._pair(key)
        return self._header()

    def read_entries(self, prefixes: tuple[str, ...]) -> tuple[Gguf, list[bytes]]:
        entries: list[bytes] = []
        _, keys = self._counts()
        for _ in range(keys):
            start, key = self._at, self._string()
            self._pair(key)
            if key.startswith(prefixes):
                entries.append(self._data[start : self._at])
        return self._header(), entries

    def _header(self) -> Gguf:
        return Gguf(self._values, self._lengths, self._arrays, self._shapes)

    def _counts(self) -> tuple[int, int]:
        """Return how many tensors and keys there are."""
        if self._bytes(4) != b"GGUF":
            raise BadGguf("it does not start with GGUF")
        version = self._u32()
        if version not in (2, 3):
            raise BadGguf(f"version {version} is not supported")
        tensors, keys = self._u64(), self._u64()
        if tensors > _MAX_TENSORS or keys > _MAX_KEYS:
            raise BadGguf(f"it claims {tensors} tensors and {keys} keys")
        return tensors, keys

    def _pair(self, key: str) -> None:
        if key in self._values or key in self._lengths:
            raise BadGguf(f"key {key[:80]!r} is there twice")
        kind = self._u32()
        if kind == _ARRAY:
            self._array(key)
        else:
            self._values[key] = self._value(kind)

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise BadGguf(f"value type {kind} does not exist")
        return scalar.unpack(self._bytes(scalar.size))[0]

    def _array(self, key: str) -> None:
        kind, length = self._u32(), self._u64()
        self._lengths[key] = length
        scalar = _SCALARS.get(kind)
        if scalar is not None and length <= _MAX_KEPT_NUMBERS:
            self._keep(length * _NUMBER_BYTES)
            numbers = self._bytes(scalar.size * length)
            self._arrays[key] = tuple(number for (number,) in scalar.iter_unpack(numbers))
        elif scalar is not None:
            self._skip(scalar.size * length)
        elif kind == _STRING:
            self._strings += length
            if length > self._size // 8 or self._strings > _MAX_STRINGS:
                raise BadGguf(f"an array of {length} strings is too long")
            for _ in range(length):
                self._skip(self._u64())
        else:
            raise BadGguf(f"arrays of type {kind} are not supported")

    def _tensor(self) -> tuple[int, int]:
        """Read a tensor's description; return its offset within the data section, and its length."""
        name = self._string()
        dimensions = self._u32()
        if dimensions > _MAX_DIMENSIONS:
            raise BadGguf(f"tensor {name[:80]!r} has {dimensions} dimensions")
        self._shapes[name] = shape = [self._u64() for _ in range(dimensions)]
        kind, offset = self._u32(), self._u64()
        values = prod(shape)
        block, size = _BLOCKS.get(kind, (8, 1))
        if kind in _BLOCKS and shape and shape[0] % block:
            raise BadGguf(f"tensor {name[:80]!r} has rows that are not whole blocks")
        return offset, values // block * size

    def _check_spans(self, spans: list[tuple[int, int]]) -> None:
        alignment = self._values.get("general.alignment", 32)
        if (
            not isinstance(alignment, int)
            or not 0 < alignment <= _MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            raise BadGguf(f"alignment {alignment!r} is not a power of two")
        start = -(-self._at // alignment) * alignment
        end_before = 0
        for offset, length in sorted(spans):
            if offset % alignment or offset < end_before:
                raise BadGguf("tensors overlap or are not aligned")
            if start + offset + length > self._size:
                raise BadGguf("a tensor reaches beyond the end of the file")
            end_before = offset + length

    def _u32(self) -> int:
        return _U32.unpack(self._bytes(4))[0]

    def _u64(self) -> int:
        return _U64.unpack(self._bytes(8))[0]

    def _string(self) -> str:
        length = self._u64()
        self._keep(length)
        return self._bytes(length).decode("utf-8", "replace")

    def _keep(self, length: int) -> None:
        self._kept_bytes += length
        if self._kept_bytes > _MAX_KEPT_BYTES:
            raise BadGguf(f"its header has more than {_MAX_KEPT_BYTES} bytes")

    def _bytes(self, length: int) -> bytes:
        start = self._at
        self._skip(length)
        return self._data[start : self._at]

    def _skip(self, length: int) -> None:
        if length > self._size - self._at:
            raise BadGguf("it ends within its header, or a length in it is false")
        self._at += length
