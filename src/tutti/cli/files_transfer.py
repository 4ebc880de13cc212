"""Uploads and downloads of files, with a progress bar on a terminal."""

import hashlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tutti.cli.http import Api, Json
from tutti.cli.server import ApiError

_CHUNK_BYTES = 1024 * 1024


class AlreadyUploaded(Exception):
    """The server already has a file with the same bytes and purpose."""

    def __init__(self, file_id: str) -> None:
        super().__init__(file_id)
        self.file_id = file_id


def send(api: Api, path: Path, purpose: str) -> Json:
    """Upload a file in the three steps of the official clients: announce, put, preprocess. Raise
    AlreadyUploaded."""
    fields = {
        "purpose": purpose,
        "file_name": path.name,
        "file_type": path.suffix.removeprefix(".") or "jsonl",
        "checksum": _sha256(path),
    }
    answer = api.form("files", fields, accept=(302, 409))
    if answer.status_code == 409:
        raise AlreadyUploaded(_file_id(answer))
    with _progress(f"Uploading {path.name}", path.stat().st_size) as report:
        api.put(answer.headers["location"], _Content(path, report), path.stat().st_size)
    return api.post(f"files/{answer.headers['x-together-file-id']}/preprocess", {})


def receive(api: Api, path: str, target: Path | None) -> None:
    with api.download(path) as response:
        keep(response, target)


def keep(response: httpx.Response, target: Path | None) -> None:
    """Write a body to standard output as it comes, or to a file that appears once it is complete."""
    if target is None:
        for chunk in response.iter_bytes():
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    try:
        _save(response, target)
    except OSError as error:
        message = f"{target} cannot be written ({error.strerror}): choose another place with --output"
        raise ApiError(message) from None


def _save(response: httpx.Response, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f"{target.name}.part"  # `with_name` raises for `.` and `/`
    total = int(response.headers.get("content-length", 0)) or None
    try:
        with _progress(f"Downloading {target.name}", total) as report, part.open("wb") as file:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                file.write(chunk)
                report(file.tell())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class _Content:
    """A file's bytes, from the start each time it is iterated."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        self._path = path
        self._report = report

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
                self._report(file.tell())


@contextmanager
def _progress(description: str, total: int | None) -> Generator[Callable[[int], None]]:
    """Show progress on a terminal, and nothing elsewhere. Yield a function that takes the number of bytes
    done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


def _sha256(path: Path) -> str:
    size_bytes = path.stat().st_size
    if not size_bytes:
        raise ApiError(f"{path} is empty: there is nothing to upload")
    found = hashlib.sha256()
    with _progress(f"Reading {path.name}", size_bytes) as report:
        for chunk in _Content(path, report):
            found.update(chunk)
    return found.hexdigest()


def _file_id(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["file_id"])
    except (ValueError, KeyError, TypeError):
        raise ApiError(f"the server refused the file: {answer.text}") from None
