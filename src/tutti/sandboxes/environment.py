"""The Python environment that users' code runs in: `<data_dir>/environments/interpreter-<hash of its lock>`.

A program makes it once (`workers/environment`). After that it is only read. A new lock or another Python
gives another folder; old folders stay until `tutti env rm`. The folder `share/matplotlib` in it holds
the list of fonts, which a sandbox puts into matplotlib's cache folder."""

import asyncio
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from tutti.base.errors import Unavailable
from tutti.process.child import Child, worker_argv

LOCK = Path(__file__).with_name("interpreter.txt")
_LOOK_S = 0.2
_RETRY_S = 60.0


class Progress(msgspec.Struct, frozen=True):
    """Progress of making the environment: `packages` of `total` are downloaded, then installed. At first
    `total` is the number in the lock file, of which one or two may be for other machines."""

    state: Literal["waiting", "downloading", "installing", "done", "failed"] = "waiting"
    packages: int = 0
    total: int = 0
    error: str = ""

    def __str__(self) -> str:
        match self.state:
            case "downloading":
                return f"{self.packages} of {self.total} packages are downloaded"
            case "installing":
                return f"{self.packages} of {self.total} packages are installed"
            case "failed":
                return f"it could not be made: {self.error}"
            case _:
                return self.state


Report = Callable[[Progress], None]


class NotMade(Unavailable):
    """The environment could not be made. The message says why."""


def environments_folder(data_dir: Path) -> Path:
    return data_dir.absolute() / "environments"


def environment_folder(data_dir: Path) -> Path:
    """Return the folder of this version's environment, which may not exist yet."""
    made_of = (LOCK.read_bytes(), sys.version.encode(), sys.base_prefix.encode())
    return (
        environments_folder(data_dir) / f"interpreter-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}"
    )


def is_made(folder: Path) -> bool:
    return (folder / "complete").exists()


def read_progress(folder: Path) -> Progress:
    """Return the progress last reported by the process that makes the environment, this one or another."""
    try:
        progress = msgspec.json.decode(_beside(folder, "progress").read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError):
        return Progress()
    if progress.state != "installing":
        return progress
    # pip reports no progress, so count what is there
    return msgspec.structs.replace(progress, packages=_count_installed(folder))


async def make(data_dir: Path, report: Report = lambda _: None) -> Path:
    """Return the environment's folder; make the environment first if it does not exist, which takes a minute
    or more. Of several calls at the same time one makes it, and the others wait. Raise NotMade if that
    fails."""
    folder = environment_folder(data_dir)
    if is_made(folder):
        return folder
    argv = worker_argv("environment", folder, LOCK)
    child = await Child.start(argv, os.environ)  # with the machine's own index, proxy and certificates
    ending = asyncio.create_task(child.wait())
    try:
        while not (await asyncio.wait([ending], timeout=_LOOK_S))[0]:
            report(read_progress(folder))
    finally:
        child.kill()
        await ending
    report(read_progress(folder))
    if ending.result() or not is_made(folder):
        raise NotMade(f"The interpreter's environment: {read_progress(folder)}.", retry_after_s=_RETRY_S)
    return folder


def hold(folder: Path) -> BinaryIO:
    """Keep the environment from being removed until the returned file is closed."""
    return _locked(folder, fcntl.LOCK_SH)


def is_being_made(folder: Path) -> bool:
    try:
        _locked(folder, fcntl.LOCK_SH | fcntl.LOCK_NB).close()
    except BlockingIOError:
        return True
    return False


def remove(folder: Path) -> None:
    """Delete an environment. Raise BlockingIOError while another process makes or holds it. The lock file
    stays, because others may wait for it."""
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        # first, so that a half-deleted folder does not count as an environment
        (folder / "complete").unlink(missing_ok=True)
        shutil.rmtree(folder)
        for what in ("progress", "log"):
            _beside(folder, what).unlink(missing_ok=True)


def _locked(folder: Path, how: int) -> BinaryIO:
    lock = _beside(folder, "lock").open("ab")
    try:
        fcntl.flock(lock, how)
    except OSError:
        lock.close()
        raise
    return lock


def _count_installed(folder: Path) -> int:
    return sum(1 for _ in folder.glob("lib/python*/site-packages/*.dist-info"))


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")
