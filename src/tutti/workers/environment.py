"""Makes a Python environment: `python -m tutti.workers.environment FOLDER LOCKED_REQUIREMENTS`.

It holds the lock beside the folder from its first moment to its last, and so does pip, so that whoever gets
the lock finds either a complete environment (`complete` is written last) or remains that nobody writes to any
more. The folder is never moved, since the scripts in it carry the path of their Python. Beside it lie how far
the work is (`.NAME.progress`) and what pip said (`.NAME.log`). A failure is status 1 and the progress
`failed`.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import BinaryIO

_FOUND = ("Collecting ", "Processing ")
_PACKAGE = re.compile(r"^([\w.-]+)==", re.MULTILINE)
_INSTALL = ("install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-input")
_PLAIN = ("--disable-pip-version-check", "--progress-bar", "off")


class Failed(Exception):
    """For people."""


def main() -> None:
    folder, requirements = Path(sys.argv[1]), Path(sys.argv[2])
    os.umask(0o022)  # what runs in a sandbox is another user, and has to read it
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder, "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return
        try:
            _make(folder, requirements, lock)
        except (OSError, Failed) as error:
            _tell(folder, "failed", error=str(error))
            sys.exit(1)


def _make(folder: Path, requirements: Path, lock: BinaryIO) -> None:
    total = len(set(_PACKAGE.findall(requirements.read_text())))
    _tell(folder, "downloading", 0, total)
    if folder.exists():
        shutil.rmtree(folder)
    venv.create(folder, symlinks=True)
    _install(folder, requirements, lock, total)
    _list_fonts(folder)
    (folder / "complete").touch()
    _tell(folder, "done")


def _install(folder: Path, requirements: Path, lock: BinaryIO, total: int) -> None:
    found, log = 0, _beside(folder, "log")
    with _pip(folder, requirements, lock) as pip, log.open("w") as file:
        assert pip.stdout is not None
        for line in pip.stdout:
            file.write(line)
            if line.startswith(_FOUND):
                found += 1
                _tell(folder, "downloading", found, total)
            elif line.startswith("Installing "):
                _tell(folder, "installing", 0, found)
    if pip.returncode:
        raise Failed(_reason(log.read_text()))


def _pip(folder: Path, requirements: Path, lock: BinaryIO) -> subprocess.Popen[str]:
    """The server's own, so that a Python without ensurepip will do. It inherits the lock, so that nobody
    begins anew while it still writes, although this process was killed."""
    argv = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *_INSTALL, *_PLAIN)
    return subprocess.Popen(
        (*argv, "-r", str(requirements)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock.fileno(),),
    )


def _list_fonts(folder: Path) -> None:
    """matplotlib's list of the machine's fonts, which each session would make anew: a second, or many."""
    subprocess.run(
        (str(folder / "bin" / "python"), "-I", "-c", "import matplotlib.font_manager"),
        env={"PATH": os.environ.get("PATH", ""), "MPLCONFIGDIR": str(folder / "share" / "matplotlib")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[-1][:500]


def _tell(folder: Path, state: str, packages: int = 0, total: int = 0, error: str = "") -> None:
    progress = {"state": state, "packages": packages, "total": total, "error": error}
    fresh = _beside(folder, "progress.new")
    fresh.write_text(json.dumps(progress))
    fresh.replace(_beside(folder, "progress"))


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


if __name__ == "__main__":
    main()
