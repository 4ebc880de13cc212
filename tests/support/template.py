"""A migrated SQLite database, made once a process and copied: a migration is a program of its own and takes
most of a second."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path


def put_database(data_dir: Path) -> None:
    """Put an empty database with the newest schema into a data directory that has none."""
    target = data_dir / "tutti.db"
    if not target.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated_file(), target)


@cache
def migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tutti-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "tutti.db"
    environment = {**os.environ, "TUTTI_DATABASE_URL": f"sqlite:///{file}"}
    subprocess.run([sys.executable, "-m", "tutti.store.migrations"], env=environment, check=True)
    return file
