"""A real S3 server for the tests (nanio): a child process on a free port of the loopback address."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.patience import limit
from tests.support.ports import free_port

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key-of-forty-characters-long"


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    bucket: str
    credentials: dict[str, str]


@contextmanager
def s3_server(folder: Path, port: int = 0) -> Iterator[S3Server]:
    """Run an S3 server with one bucket. `credentials` are the environment variables that a client needs. With
    the same folder and port it is the same server, started again."""
    (folder / "tutti").mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [sys.executable, "-m", "nanio", "serve", "--host", "127.0.0.1", "--port", str(port)]
    child = subprocess.Popen(
        [*command, "--data-dir", str(folder), "--no-access-log", "--log-level", "error"],
        env={**os.environ, "NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY},
    )
    try:
        _wait(child, port)
        credentials = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }
        yield S3Server(f"http://127.0.0.1:{port}", "tutti", credentials)
    finally:
        child.terminate()
        child.wait(limit(60))


def _wait(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + limit(60)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert child.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not start"
            time.sleep(0.05)
