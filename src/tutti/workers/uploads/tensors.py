"""Tensors of safetensors files without copies, bfloat16 included, which numpy and so safetensors' own reader
for it do not know. Format: the length of a JSON header, the header, the data."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

Array = npt.NDArray[Any]


class BadTensors(Exception):
    """For people: what is wrong with the file."""


@dataclass(frozen=True)
class Tensor:
    """`bits` is the data as it is stored: of bfloat16, its 16 bits as integers."""

    dtype: str
    bits: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    def float32(self) -> npt.NDArray[np.float32]:
        if self.dtype == "BF16":
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        return self.bits.astype(np.float32)


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """In the file's order. Raises BadTensors."""
    data = np.memmap(path, np.uint8, mode="r")
    length = int(data[:8].view("<u8")[0])
    header: Mapping[str, Any] = json.loads(bytes(data[8 : 8 + length]))
    for name, about in header.items():
        if name != "__metadata__":
            yield name, _tensor(name, about, data[8 + length :])


def read_shapes(path: Path) -> Mapping[str, Sequence[int]]:
    """Of whatever types its tensors are."""
    with path.open("rb") as file:
        header: Mapping[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: about["shape"] for name, about in header.items() if name != "__metadata__"}


def _tensor(name: str, about: Mapping[str, Any], data: Array) -> Tensor:
    dtype, shape, (start, end) = about["dtype"], about["shape"], about["data_offsets"]
    if dtype not in _DTYPES:
        raise BadTensors(f"tensor {name} has the type {dtype}; taken are {', '.join(_DTYPES)}")
    stored = np.dtype(_DTYPES[dtype])
    if end - start != math.prod(shape) * stored.itemsize:
        raise BadTensors(f"tensor {name} has {end - start} bytes, which is not its shape {shape} of {dtype}")
    return Tensor(dtype, data[start:end].view(stored).reshape(shape))
