"""Ending a process whose loop stands still, and logging where it stood.

A thread of C keeps the watch, which needs nothing of Python: it also ends a computation that never lets go of
the interpreter. Whoever starts the process again logs the stack that it wrote.
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
"""The interval of the loop's signs of life, as a part of the time that it may stand still."""
log = logging.getLogger(__name__)


@asynccontextmanager
async def watched(data_dir: Path, most_s: float) -> AsyncGenerator[None]:
    """Watch the loop: this process ends when it does not come round for `most_s`."""
    path = _folder(data_dir) / f"standstill-{os.getpid()}.txt"
    with path.open("w") as file:
        moving = asyncio.create_task(_move(file.fileno(), most_s))
        try:
            yield
        finally:
            moving.cancel()
            await asyncio.wait([moving])
    path.unlink()


def log_ended(data_dir: Path) -> None:
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
