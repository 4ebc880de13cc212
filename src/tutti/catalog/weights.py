"""Checks of files for a model's folder: their names, their formats, and that they are whole.

Only data formats are taken: never pickles (.bin, .pt, .pth, .pkl) and never code.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any, cast

import msgspec

from tutti.base.gguf import BadGguf, read_gguf

SUFFIXES = frozenset(
    {".gguf", ".safetensors", ".onnx", ".npy", ".f32", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
    | {".ct2", ".ge2e"}  # Whisper for CTranslate2; an encoder of voices, of which only tensors are ever read
)
_COMPONENT = re.compile(r"[A-Za-z0-9_][\w.+=@ -]{0,199}", re.ASCII)
MAX_JSON_BYTES = 16 * 1024 * 1024
"""The longest header or configuration: as values they take many times as much memory."""


class BadWeights(Exception):
    """The file is not what its name says, or it is damaged or malicious."""


def is_safe_name(name: str) -> bool:
    """Return whether a name is a relative path of plain components, so that nothing is written outside the
    folder or hidden in it."""
    return len(name) <= 400 and all(_COMPONENT.fullmatch(part) for part in name.split("/"))


def is_data(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises BadWeights for what is not JSON, or is too long."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BadWeights(f"{path.name} has more than {MAX_JSON_BYTES} bytes")
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadWeights(f"{path.name} is not JSON: {error}") from error


def check_weights(path: Path, name: str) -> None:
    """Check a file by its header only, which is cheap even for huge files. Raises BadWeights."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".gguf":
        _check_gguf(path)
    elif suffix == ".safetensors":
        _check_safetensors(path)


def _check_gguf(path: Path) -> None:
    try:
        read_gguf(path)
    except BadGguf as error:
        raise BadWeights(f"not a sound GGUF file: {error}") from error


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_JSON_BYTES):
            cause = f"its header is longer than the file, or than {MAX_JSON_BYTES} bytes"
            raise BadWeights(f"not a sound safetensors file: {cause}")
        header = file.read(length)
    try:
        tensors = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise BadWeights("not a sound safetensors file: its header is not JSON") from error
    if not isinstance(tensors, dict):
        raise BadWeights("not a sound safetensors file: its header is not an object")
    for key, tensor in cast(dict[str, Any], tensors).items():
        if key != "__metadata__" and not _within(tensor, size - 8 - length):
            raise BadWeights(f"not a sound safetensors file: tensor {key[:80]!r} lies outside of it")


def _within(tensor: Any, data_size: int) -> bool:
    match tensor:
        case {"data_offsets": [int(start), int(end)]}:
            return 0 <= start <= end <= data_size
        case _:
            return False
