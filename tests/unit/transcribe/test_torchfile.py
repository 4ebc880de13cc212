"""Tensors of old torch files: nothing else ever comes out of them."""

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutti.workers.transcribe.torchfile import BadFile, read_torch

MAGIC = 0x1950A86A20F9469CFC6C


class Named:
    """Pickles as a call of a function of that name."""

    def __init__(self, module: str, name: str, *args: Any) -> None:
        self.module, self.name, self.args = module, name, args


class Writer(pickle._Pickler):  # the pure one, whose global references can be written by name
    def persistent_id(self, obj: Any) -> Any:
        return ("storage", "x", obj[1], "cpu", 4) if isinstance(obj, tuple) and obj[:1] == ("#",) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Named):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def saved(value: Any, storages: dict[str, list[float]]) -> bytes:
    file = io.BytesIO()
    for part in (MAGIC, 1001, {"little_endian": True}, value, list(storages)):
        Writer(file, 2).dump(part)
    for values in storages.values():
        file.write(struct.pack(f"<q{len(values)}f", len(values), *values))
    return file.getvalue()


def tensor(key: str, offset: int, shape: tuple[int, ...]) -> Named:
    return Named("torch._utils", "_rebuild_tensor_v2", ("#", key), offset, shape, (1,), False, OrderedDict())


def test_tensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    value = {"step": 3, "state": {"a": tensor("k", 0, (2, 2)), "b": tensor("k", 4, (1,))}}
    path.write_bytes(saved(value, {"k": [1, 2, 3, 4, 5]}))
    found = read_torch(path)
    assert found["step"] == 3
    assert found["state"]["a"].tolist() == [[1, 2], [3, 4]]
    assert found["state"]["b"].tolist() == [5]
    assert found["state"]["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "mkdir"),
        ("builtins", "eval"),
        ("torch._utils", "_rebuild_parameter"),
        ("collections", "Counter"),
    ],
)
def test_whatever_else_it_names_is_refused(module: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(saved({"a": Named(module, name, str(tmp_path / "made"))}, {}))
    with pytest.raises(BadFile, match="names"):
        read_torch(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"", b"PK\3\4", pickle.dumps(1), pickle.dumps({}), b"\x80\x02K\x01"])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(data)
    with pytest.raises(BadFile):
        read_torch(path)


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    data = saved({"a": tensor("k", 0, (2, 2))}, {"k": [1, 2, 3, 4]})
    path = tmp_path / "saved"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(BadFile):
            read_torch(path)
