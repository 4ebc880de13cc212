"""Unpacks an archive (.zip, .tar, .tar.gz, .tar.zst).

`python -m tutti.workers.uploads.unpack ARCHIVE FOLDER MAX_BYTES` writes only regular files, and only below
FOLDER. It refuses links, devices, paths that lead out of FOLDER, and contents of more than MAX_BYTES. An
error is a line on stderr and status 1.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyarrow comes without types.

import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

import pyarrow as pa

from tutti.workers.limits import limit_memory, limit_time

_CHUNK = 1 << 20
_MOST_FILES = 10_000
_MEMORY_BYTES = 1024**3
_CPU_S = 60.0
"""CPU time for one chunk of the output, in seconds."""


class BadArchive(Exception):
    """The archive is refused. The message is for people."""


def main() -> NoReturn:
    archive, folder, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    limit_memory(_MEMORY_BYTES)
    limit_time(_CPU_S)
    try:
        unpack(archive, folder, limit)
    except MemoryError:
        sys.exit("the archive cannot be taken: its list of files, or its window, needs too much memory")
    except BadArchive as error:
        sys.exit(f"the archive cannot be taken: {error}")
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, tarfile.TarError) as error:
        sys.exit(f"the archive is damaged: {error}")
    sys.exit(0)


def unpack(archive: Path, folder: Path, limit: int) -> None:
    left = limit
    files = _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive)
    for count, (name, source) in enumerate(files):
        if count >= _MOST_FILES:
            raise BadArchive(f"it has more than {_MOST_FILES} files")
        target = _target(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as file:
            left -= _copy(source, file, left, limit)


def _copy(source: IO[bytes], file: IO[bytes], left: int, limit: int) -> int:
    size = 0
    while chunk := source.read(_CHUNK):
        limit_time(_CPU_S)
        size += len(chunk)
        if size > left:
            raise BadArchive(f"what is in it takes more than {limit} bytes")
        file.write(chunk)
    return size


def _target(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
        raise BadArchive(f"the path {name[:80]!r} leads out of it")
    return folder.joinpath(*path.parts)


def _zipped(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                raise BadArchive(f"{info.filename[:80]!r} is a link or a device")
            yield info.filename, opened.open(info)


def _tarred(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with closing(_plain(archive)) as plain, tarfile.open(fileobj=plain, mode="r|") as opened:
        for member in opened:
            if member.isdir():
                continue
            source = opened.extractfile(member) if member.isreg() else None
            if source is None:
                raise BadArchive(f"{member.name[:80]!r} is a link or a device")
            yield member.name, source


def _plain(archive: Path) -> IO[bytes]:
    """Open a tar file, decompressed if its first bytes say gzip or zstd."""
    with archive.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        return pa.input_stream(str(archive), compression="gzip")
    if start == b"\x28\xb5\x2f\xfd":
        return pa.input_stream(str(archive), compression="zstd")
    return archive.open("rb")


if __name__ == "__main__":
    main()
