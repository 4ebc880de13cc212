"""Reads tensors from the legacy file format of `torch.save`, without torch and without executing anything.

Format: pickles of a magic number, a protocol version, the system's sizes, the object and the keys of its
storages, then the storages. Only dictionaries, numbers, strings and float32 tensors are ever built; a pickle
that names anything else is refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C


class BadFile(Exception):
    """The file has another format, or names more than tensors."""


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose data is not read yet: the key of its storage, and its place there."""

    key: str
    offset: int
    shape: tuple[int, ...]


class _FloatStorage:
    """Stands for torch.FloatStorage, which the file names. It is never instantiated."""


def _rebuild(storage: str, offset: int, shape: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape)


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch", "FloatStorage"): _FloatStorage,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise BadFile(f"it names {module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])


def read_torch(path: Path) -> dict[str, Any]:
    """Return the saved dictionary, with its tensors as arrays. Raises BadFile."""
    with path.open("rb") as file:
        try:
            if _Reader(file).load() != _MAGIC:
                raise BadFile("it is not of torch's old format")
            _Reader(file).load()
            _Reader(file).load()
            saved = _Reader(file).load()
            storages = {str(key): _storage(file) for key in _Reader(file).load()}
            return _filled(saved, storages)
        except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise BadFile(str(error)) from error


def _storage(file: IO[bytes]) -> NDArray[np.float32]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * 4), "<f4")


def _filled(value: Any, storages: Mapping[str, NDArray[np.float32]]) -> Any:
    if isinstance(value, _Tensor):
        size = int(np.prod(value.shape))
        return storages[value.key][value.offset : value.offset + size].reshape(value.shape)
    if isinstance(value, dict):
        return {key: _filled(each, storages) for key, each in cast(dict[Any, Any], value).items()}
    return value
