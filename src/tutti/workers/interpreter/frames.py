"""Reads and writes frames on a pipe: 4 bytes of length (big-endian), then JSON."""

import json
import os
from typing import Any, cast


def encode(message: dict[str, Any]) -> bytes:
    """Encode a message. NaN and infinity become null, and objects that JSON does not have become text."""
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, default=str)
    except (ValueError, TypeError, RecursionError):
        text = json.dumps(_plain(message, 0), ensure_ascii=False)
    body = text.encode("utf-8", "replace")  # half a surrogate pair is no text
    return len(body).to_bytes(4, "big") + body


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read(fd: int) -> dict[str, Any] | None:
    """Read a frame. Return None if the pipe is closed."""
    head = _read(fd, 4)
    body = _read(fd, int.from_bytes(head, "big")) if len(head) == 4 else b""
    return json.loads(body) if body else None


def _read(fd: int, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (piece := os.read(fd, min(size - len(found), 1024 * 1024))):
        found += piece
    return bytes(found)


def _plain(value: Any, depth: int) -> Any:
    if depth > 50:
        return "..."
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)
