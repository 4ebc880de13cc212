"""The manifest of a model's folder, `complete.json`. It is written last, so its presence says that the model
is whole."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tutti.base.model import Model

NAME = "complete.json"


class PulledFile(msgspec.Struct, frozen=True):
    """A file that was pulled, with the hash that was verified: SHA-256, or a git blob id of 40 digits, or
    empty for a local file."""

    name: str
    size_bytes: int
    digest: str
    source: str


class Manifest(msgspec.Struct, frozen=True):
    model: str
    hub: str | None
    files: tuple[PulledFile, ...]


def read_manifest(folder: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    fresh = folder / f"{NAME}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / NAME)


def is_complete(model: Model, folder: Path) -> bool:
    """Return whether the folder holds all files of the present entry: a changed hash or repository means
    pulling again."""
    if not model.files and model.hub is None:
        return True
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    pulled = {file.name: file for file in manifest.files}
    wanted = all(
        f.name in pulled
        and f.sha256 in ("", pulled[f.name].digest)
        and f.size_bytes in (0, pulled[f.name].size_bytes)
        for f in model.files
    )
    return wanted and (bool(model.files) or manifest.hub == model.hub) and _on_disk(manifest, folder)


def twins(folder: Path) -> Iterator[tuple[Path, PulledFile]]:
    """Yield the verified files of the other models beside `folder`."""
    for path in folder.parent.glob(f"*/{NAME}"):
        manifest = read_manifest(path.parent)
        if manifest is not None and path.parent != folder:
            yield from ((path.parent / file.name, file) for file in manifest.files)


def folder_size_bytes(folder: Path) -> int:
    """Return the size of all files in a folder; 0 when it is not there. Others may write and delete in it
    meanwhile."""
    paths = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sum(max(size_on_disk(path), 0) for path in paths)


def size_on_disk(path: Path) -> int:
    """Return the size of a file in bytes; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _on_disk(manifest: Manifest, folder: Path) -> bool:
    return all(size_on_disk(folder / file.name) == file.size_bytes for file in manifest.files)
