"""Embeddings as engines give them (little-endian float32 bytes), shortened and written for the answer."""

import base64
import math
import struct
from collections.abc import Sequence

from tutti.base.errors import InternalError, InvalidRequest


def shorten(vector: bytes, dimensions: int | None, name: str, can_shorten: bool) -> bytes:
    """Return the first `dimensions` numbers of a vector, scaled back to length 1.

    None keeps all of them. Raises InvalidRequest if the model was not trained for that (then `can_shorten` is
    False), or has fewer dimensions. `name` is what the client calls the model.
    """
    size = len(vector) // 4
    if dimensions is None or dimensions == size:
        return vector
    if not can_shorten or dimensions > size:
        message = f"Model {name} has {size} dimensions and cannot be asked for {dimensions}."
        raise InvalidRequest(message, param="dimensions")
    kept = _floats(vector)[:dimensions]
    norm = math.hypot(*kept) or 1.0
    return struct.pack(f"<{dimensions}f", *(x / norm for x in kept))


def encode(vector: bytes, encoding_format: str | None) -> str | tuple[float, ...]:
    """Return a vector as the answer has it: numbers, or the base64 of its bytes."""
    numbers = _floats(vector)
    check_finite(numbers)
    return base64.b64encode(vector).decode() if encoding_format == "base64" else numbers


def check_finite(numbers: Sequence[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise InternalError("The engine answered with numbers that are not finite.")


def _floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)
