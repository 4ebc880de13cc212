"""What an engine says goes into one file, what it said before into another, and neither grows for ever."""

import os
import shutil
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024


def keep(log: Path) -> None:
    """Before the engine starts again."""
    if log.exists():
        log.replace(_last(log))


def cut(log: Path, most_bytes: int = MOST_BYTES) -> None:
    """While the engine writes, which appends. What it says between the two steps is lost."""
    if log.exists() and log.stat().st_size > most_bytes:
        shutil.copyfile(log, _last(log))
        os.truncate(log, 0)


def _last(log: Path) -> Path:
    return log.with_suffix(".last.log")
