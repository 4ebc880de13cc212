"""The logs of a program: one file for this run, one for the run before, and neither grows for ever."""

import os
import shutil
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024


def keep(log: Path) -> None:
    """Put the log of the last run aside, before the program starts again."""
    if log.exists():
        log.replace(_last(log))


def cut(log: Path, most_bytes: int = MOST_BYTES) -> None:
    """Cut a log that has become too long, while the program appends to it. What it writes between the two
    steps is lost."""
    if log.exists() and log.stat().st_size > most_bytes:
        shutil.copyfile(log, _last(log))
        os.truncate(log, 0)


def _last(log: Path) -> Path:
    return log.with_suffix(".last.log")
