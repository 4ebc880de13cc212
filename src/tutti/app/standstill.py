"""Ending a process whose loop stands still, and saying where it stood.

The watch is kept by a thread of C, which needs nothing of Python: also a computation that never lets go of
the interpreter is ended. What it writes is told by whoever starts the process again.
"""

import asyncio
import faulthandler
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

_LOOK_S = 0.1
"""As part of the time that a loop may stand still."""
log = logging.getLogger(__name__)


@asynccontextmanager
async def watched(data_dir: Path, most_s: float) -> AsyncGenerator[None]:
    """Within, this process ends when its loop does not come round for `most_s`."""
    path = _folder(data_dir) / f"standstill-{os.getpid()}.txt"
    with path.open("w") as file:
        moving = asyncio.create_task(_move(file.fileno(), most_s))
        try:
            yield
        finally:
            moving.cancel()
            await asyncio.wait([moving])
    path.unlink()


def tell_of_ended(data_dir: Path) -> None:
    """Log where each process stood that was ended, once."""
    for file in _folder(data_dir).glob("standstill-*.txt"):
        if not psutil.pid_exists(int(file.stem.rpartition("-")[2])):
            stood = file.read_text(errors="replace")
            file.unlink()
            if stood:
                log.error("an API worker stood still and was ended", extra={"stack": stood})


async def _move(file: int, most_s: float) -> None:
    try:
        while True:
            faulthandler.dump_traceback_later(most_s, exit=True, file=file)
            await asyncio.sleep(most_s * _LOOK_S)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _folder(data_dir: Path) -> Path:
    folder = data_dir / "logs"
    folder.mkdir(exist_ok=True)
    return folder
