"""A file on its way in: written to `.partial/`, hashed while it is written, renamed when it is whole."""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tutti.catalog.sources.base import DiskFull, Wanted, WrongContent
from tutti.fetch.resume import is_disk_full

_CHUNK = 1 << 20


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(f"no room left for {path.name} in {path.parent}") from error


def digest_of(path: Path, digest: str) -> str:
    """Return the file's hash, of the kind that `digest` is."""
    hashed = _hasher(digest, path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def _hasher(digest: str, size_bytes: int) -> "hashlib._Hash":  # pyright: ignore[reportPrivateUsage] # typeshed's name
    if len(digest) != 40:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)  # git's object id


class Partial:
    """A file that is being written. Its methods block on the disk: call them in a thread. `moved(size)` is
    called when the size has changed."""

    def __init__(self, path: Path, wanted: Wanted, moved: Callable[[int], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.wanted = wanted
        self._moved = moved
        self._file = path.open("ab")
        self._hash = _hasher(wanted.digest, wanted.size_bytes)
        self.size = 0

    def resume(self) -> None:
        """Continue behind what an earlier try left, if its end can be verified; otherwise start anew."""
        left = self.path.stat().st_size
        if not self.wanted.digest or left > (self.wanted.size_bytes or left):
            self.cut(0)
        else:
            self.cut(left)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes."""
        self._file.flush()
        self._file.truncate(size)
        self._hash = _hasher(self.wanted.digest, self.wanted.size_bytes)
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._hash.update(chunk)
        self.size = size
        self._moved(size)

    def write(self, chunk: bytes) -> None:
        limit = self.wanted.size_bytes
        if limit and self.size + len(chunk) > limit:
            self.discard()
            raise WrongContent(f"{self.wanted.name} is longer than the {limit} bytes it should have")
        with disk_errors(self.path):
            self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)
        self._moved(self.size)

    def finish(self) -> None:
        """Write everything to the disk, and verify it. Raises WrongContent, and then the file is gone."""
        with disk_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        wanted = self.wanted
        if wanted.size_bytes and self.size != wanted.size_bytes:
            self.discard()
            raise WrongContent(f"{wanted.name} has {self.size} bytes instead of {wanted.size_bytes}")
        if wanted.digest and self._hash.hexdigest() != wanted.digest:
            self.discard()
            raise WrongContent(f"{wanted.name} has hash {self._hash.hexdigest()} instead of {wanted.digest}")

    def close(self) -> None:
        with disk_errors(self.path):
            self._file.close()

    def discard(self) -> None:
        with suppress(OSError):  # what was buffered may not fit: it is dropped anyway
            self._file.close()
        self.path.unlink(missing_ok=True)
