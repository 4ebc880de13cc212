"""Prepares the home directory, and writes the files that come with a request into it."""

import base64
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CACHE = ".cache/matplotlib"


def prepare() -> None:
    home = Path(os.environ["HOME"])
    os.chdir(home)
    if packages := os.environ.get("PIP_TARGET"):
        Path(packages).mkdir(exist_ok=True)
        sys.path.append(packages)
    for fonts in Path(sys.prefix, "share/matplotlib").glob("*.json"):  # making the list again takes a second
        (home / _CACHE).mkdir(parents=True, exist_ok=True)
        (home / _CACHE / fonts.name).symlink_to(fonts)


def receive(files: list[dict[str, Any]], failed: Callable[[str], None]) -> bool:
    """Write the files, and return True if all were written. `failed` gets the message about one that was not.

    No symbolic link is followed, neither in a name's folders nor at its end.
    """
    for file in files:
        try:
            _write(file["name"].split("/"), base64.b64decode(file["content"]))
        except (OSError, ValueError) as error:
            failed(f"The file {file['name']!r} was not written: {error}.")
            return False
    return True


def _write(parts: list[str], content: bytes) -> None:
    *folders, name = parts
    if not all(parts) or {".", ".."} & set(parts):
        raise ValueError("it is not a name in the home directory")
    opened = [os.open(os.environ["HOME"], os.O_RDONLY | os.O_DIRECTORY)]
    try:
        for folder in folders:
            opened.append(_opened_folder(folder, opened[-1]))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(name, flags, 0o644, dir_fd=opened[-1]), "wb") as file:
            file.write(content)
    finally:
        for fd in opened:
            os.close(fd)


def _opened_folder(name: str, above: int) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=above)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
