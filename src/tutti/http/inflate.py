"""Decompressing bodies without letting a small one become a large one."""

import asyncio
import zlib
from collections.abc import Callable

from tutti.base.errors import InvalidRequest, TooLarge, UnsupportedMedia

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""zlib's window bits, by content coding."""
_FED_BYTES = 1 << 16
_TAKEN_BYTES = 1 << 20
"""Bytes decompressed at a time: other requests have their turn in between."""


async def inflated(body: bytes, coding: bytes, max_bytes: int) -> bytes:
    """Decompress the body. Raises UnsupportedMedia, TooLarge for a body that becomes larger than `max_bytes`,
    and InvalidRequest."""
    if coding not in _WINDOWS:
        name = coding[:40].decode("latin-1")
        raise UnsupportedMedia(f"The content-encoding {name} is not read here: use gzip, deflate or none.")
    inflater = zlib.decompressobj(_WINDOWS[coding])
    plain = bytearray()
    for at in range(0, len(body), _FED_BYTES):
        fed = body[at : at + _FED_BYTES]
        while piece := _tried(inflater.decompress, fed):
            plain += piece
            if len(plain) > max_bytes:
                raise too_large(max_bytes)
            fed = inflater.unconsumed_tail
            await asyncio.sleep(0)
    if not inflater.eof or inflater.unused_data:
        raise _broken("it ends too early" if not inflater.eof else "something follows its end")
    return bytes(plain)


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body is larger than {max_bytes} bytes, the most that this server accepts.")


def _tried(inflate: Callable[[bytes, int], bytes], fed: bytes) -> bytes:
    try:
        return inflate(fed, _TAKEN_BYTES)
    except zlib.error as error:
        raise _broken(str(error)) from error


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not what its content-encoding says: {why}.")
