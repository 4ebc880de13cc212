"""Bytes on their way into the object store: counted, hashed, checked; kept as a whole or not at all."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tutti.base.errors import InvalidRequest, TooLarge
from tutti.store.blobs import Blobs


@dataclass(frozen=True)
class Expected:
    """Facts that the client announced; None or empty if it did not. `max_bytes` is the server's limit, 0 for
    none."""

    max_bytes: int = 0
    min_bytes: int = 1
    size_bytes: int | None = None
    checksum: str = ""


@dataclass(frozen=True)
class Received:
    """A stored object. `blob` is the last segment of its key, `checksum` the SHA-256 in hex."""

    blob: str
    size_bytes: int
    checksum: str


class Tally:
    """A count and a hash of bytes on their way, which are compared with what was expected."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()

    async def passing(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the data. Raise InvalidRequest or TooLarge before the end if it is not as expected: so the
        store never has a whole object of it."""
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
    """Raise InvalidRequest if a checksum was announced and differs from the one found."""
    if announced and announced != found:
        raise InvalidRequest(
            "The bytes do not have the SHA-256 that was announced.",
            param="checksum",
            code="checksum_mismatch",
        )


async def receive(
    blobs: Blobs, prefix: str, blob: str, data: AsyncIterator[bytes], expected: Expected
) -> Received:
    """Store the data as the object `prefix + blob`. Whatever this raises, the object is not there then."""
    tally = Tally(expected)
    await blobs.put(prefix + blob, tally.passing(data))
    return Received(blob, tally.size_bytes, tally.checksum)


async def compare(data: AsyncIterator[bytes], expected: Expected) -> None:
    """Read the data and keep nothing. Raise as `receive` does if it is not as expected."""
    async for _ in Tally(expected).passing(data):
        pass
