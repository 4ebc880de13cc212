"""`python -m tests.support.ordinary TEST...`: as root, runs tests as an ordinary user.

What that user cannot get at (root's Python, the cache of the tests) is bound over a readable folder, in a
mount namespace of its own: nothing of the machine changes.
"""

import os
import subprocess
import sys
from pathlib import Path

import tests
from tests.support.sandboxes import environment

_UID = 65534
REPOSITORY = Path(tests.__path__[0]).parent


def command(*paths: str) -> list[str]:
    """Return the command, which must be started in the repository."""
    return ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __name__, *paths]


def main(paths: list[str]) -> None:
    for hidden in _hidden_folders():
        _open(hidden)
    os.setgroups([])
    os.setresgid(_UID, _UID, _UID)
    os.setresuid(_UID, _UID, _UID)
    options = tuple(f"-pno:{it}" for it in ("cacheprovider", "xdist", "tests.support.again"))
    os.execv(sys.executable, [sys.executable, "-B", "-m", "pytest", *options, *paths])


def _needed() -> list[Path]:
    return [Path(sys.base_prefix), Path(sys.prefix), environment(), REPOSITORY]


def _hidden_folders() -> set[Path]:
    """Return the topmost folders above the needed ones that other users may not enter."""
    ways = ([*reversed(path.resolve().parents), path.resolve()] for path in _needed())
    closed = (next((it for it in way if not it.stat().st_mode & 0o001), None) for way in ways)
    return {folder for folder in closed if folder is not None}


def _open(folder: Path) -> None:
    """Mount an empty folder in its place, with the needed ones bound into it."""
    inside = [path.resolve() for path in _needed() if path.resolve().is_relative_to(folder)]
    held = [os.open(path, os.O_PATH) for path in inside]
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(folder))
    for path, fd in zip(inside, held, strict=True):
        path.mkdir(parents=True, exist_ok=True)
        _mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{fd}", str(path))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
