"""Files that are already on this machine: linked, never copied."""

import os
from pathlib import Path

from tutti.catalog.sources.base import SourceFailed, Wanted, WrongContent
from tutti.catalog.sources.partial import digest_of


def link_path(path: str, wanted: Wanted, target: Path) -> None:
    """Make a symbolic link, so that the user's own weights stay where they are. Raises SourceFailed."""
    source = Path(path).expanduser().resolve()
    if not source.is_file():
        raise SourceFailed(f"{source} is not a file")
    if wanted.size_bytes and source.stat().st_size != wanted.size_bytes:
        raise WrongContent(f"{source} has {source.stat().st_size} bytes instead of {wanted.size_bytes}")
    if wanted.digest and digest_of(source, wanted.digest) != wanted.digest:
        raise WrongContent(f"{source} does not have hash {wanted.digest}")
    target.unlink(missing_ok=True)
    target.symlink_to(source)


def link_twin(twin: Path, target: Path) -> bool:
    """Give a file of another model a second name. Returns False where the file system cannot."""
    try:
        target.unlink(missing_ok=True)
        os.link(twin, target)
    except OSError:
        return False
    return True
