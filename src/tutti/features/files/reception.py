"""Bytes on their way into the object store: counted, hashed, checked; kept as a whole or not at all."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tutti.base.errors import InvalidRequest, TooLarge
from tutti.store.blobs import Blobs


@dataclass(frozen=True)
class Expected:
    """What the client said before; nothing where empty or None. `max_bytes` is the server's limit; 0:
    none."""

    max_bytes: int = 0
    min_bytes: int = 1
    size_bytes: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class Received:
    """`blob` is the last segment of the object's key, `checksum` the SHA-256 in hex."""

    blob: str
    size_bytes: int
    checksum: str


class Tally:
    """The bytes that passed, which are raised over as soon as they are not what was expected."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()

    async def passing(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises InvalidRequest or TooLarge, at the last before the end: so the store never has it as a
        whole."""
        async for chunk in data:
            self.size_bytes += len(chunk)
            if 0 < self._expected.max_bytes < self.size_bytes:
                raise TooLarge(f"At most {self._expected.max_bytes} bytes can be taken.", param="file")
            self._hash.update(chunk)
            yield chunk
        self._check()

    def _check(self) -> None:
        size_bytes = self._expected.size_bytes
        if self.size_bytes < self._expected.min_bytes:
            raise InvalidRequest("The file is empty.", param="file")
        if size_bytes is not None and self.size_bytes != size_bytes:
            raise InvalidRequest(f"{size_bytes} bytes were announced, {self.size_bytes} came.", param="file")
        check_checksum(self._expected.checksum, self.checksum)


def check_checksum(announced: str, found: str) -> None:
    """Raises InvalidRequest; what was not announced cannot be wrong."""
    if announced and announced != found:
        raise InvalidRequest(
            "The bytes do not have the SHA-256 that was announced.",
            param="checksum",
            code="checksum_mismatch",
        )


async def receive(
    blobs: Blobs, prefix: str, blob: str, data: AsyncIterator[bytes], expected: Expected
) -> Received:
    """Puts the object `prefix + blob`. Whatever it raises, the object is not there."""
    tally = Tally(expected)
    await blobs.put(prefix + blob, tally.passing(data))
    return Received(blob, tally.size_bytes, tally.checksum)


async def compare(data: AsyncIterator[bytes], expected: Expected) -> None:
    """Reads it all and keeps nothing. Raises as `receive`."""
    async for _ in Tally(expected).passing(data):
        pass
