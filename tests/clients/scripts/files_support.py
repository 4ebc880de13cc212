"""A file to upload, another one each time, and the command line of the client beside the interpreter."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="tutti-files-"))


def new_file(lines: int = 200, name: str = "train.jsonl") -> Path:
    """Sound training data."""
    path = FOLDER / name
    path.write_text("".join(json.dumps({"text": f"{uuid.uuid4()} {n}"}) + "\n" for n in range(lines)))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def command(program: str, *arguments: str) -> str:
    """What it prints; it has to succeed."""
    argv = [str(Path(sys.executable).with_name(program)), *arguments]
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(argv, cwd=FOLDER, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout
