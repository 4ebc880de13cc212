"""Reads the tensors of safetensors files without copying them.

That includes bfloat16, which numpy does not have, so safetensors' own reader for numpy does not read it.
Format: the length of a JSON header, the header, the data.
"""

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
    """The file is damaged or has types that are not read. The message is for people."""


@dataclass(frozen=True)
class Tensor:
    """A tensor. `bits` is the data as stored; bfloat16 is stored as 16-bit integers."""

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
    """Yield names and tensors in the file's order. Raises BadTensors."""
    data = np.memmap(path, np.uint8, mode="r")
    length = int(data[:8].view("<u8")[0])
    header: Mapping[str, Any] = json.loads(bytes(data[8 : 8 + length]))
    for name, about in header.items():
        if name != "__metadata__":
            yield name, _tensor(name, about, data[8 + length :])


def read_shapes(path: Path) -> Mapping[str, Sequence[int]]:
    """Return the shapes of all tensors by name, whatever their types."""
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
