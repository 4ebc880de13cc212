"""Makes a Python environment: `python -m tutti.workers.environment FOLDER LOCKED_REQUIREMENTS`.

The program holds a lock file beside the folder from start to end, and pip inherits it. So whoever gets the
lock finds either a complete environment (the file `complete` is written last) or remains that no process
writes to any more. The folder is never moved, since the scripts in it hold the path of their Python. Beside
the folder are the progress (`.NAME.progress`) and pip's output (`.NAME.log`). After a failure the exit status
is 1 and the progress is `failed`.
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


class InstallFailed(Exception):
    """pip could not install the packages. The message is for people."""


def main() -> None:
    folder, requirements = Path(sys.argv[1]), Path(sys.argv[2])
    os.umask(0o022)  # the sandboxes run as another user, who has to read the files
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder, "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return
        try:
            _make(folder, requirements, lock)
        except (OSError, InstallFailed) as error:
            _write_progress(folder, "failed", error=str(error))
            sys.exit(1)


def _make(folder: Path, requirements: Path, lock: BinaryIO) -> None:
    total = len(set(_PACKAGE.findall(requirements.read_text())))
    _write_progress(folder, "downloading", 0, total)
    if folder.exists():
        shutil.rmtree(folder)
    venv.create(folder, symlinks=True)
    _install(folder, requirements, lock, total)
    _list_fonts(folder)
    (folder / "complete").touch()
    _write_progress(folder, "done")


def _install(folder: Path, requirements: Path, lock: BinaryIO, total: int) -> None:
    found, log = 0, _beside(folder, "log")
    with _pip(folder, requirements, lock) as pip, log.open("w") as file:
        assert pip.stdout is not None
        for line in pip.stdout:
            file.write(line)
            if line.startswith(_FOUND):
                found += 1
                _write_progress(folder, "downloading", found, total)
            elif line.startswith("Installing "):
                _write_progress(folder, "installing", 0, found)
    if pip.returncode:
        raise InstallFailed(_reason(log.read_text()))


def _pip(folder: Path, requirements: Path, lock: BinaryIO) -> subprocess.Popen[str]:
    """Start pip of the server's own Python, so that a Python without ensurepip will do.

    pip inherits the lock: if this process is killed, nobody starts again while pip still writes.
    """
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
    """Write matplotlib's list of the machine's fonts. Each session would make it again: a second, or many."""
    subprocess.run(
        (str(folder / "bin" / "python"), "-I", "-c", "import matplotlib.font_manager"),
        env={"PATH": os.environ.get("PATH", ""), "MPLCONFIGDIR": str(folder / "share" / "matplotlib")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[-1][:500]


def _write_progress(folder: Path, state: str, packages: int = 0, total: int = 0, error: str = "") -> None:
    progress = {"state": state, "packages": packages, "total": total, "error": error}
    fresh = _beside(folder, "progress.new")
    fresh.write_text(json.dumps(progress))
    fresh.replace(_beside(folder, "progress"))


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


if __name__ == "__main__":
    main()
