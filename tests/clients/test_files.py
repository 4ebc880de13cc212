"""Files through the official clients and their command lines, unmodified, and through our own."""

import hashlib
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.clients import PYTHON_CLIENTS, check_errors, environment, program, run
from tests.support.patience import limit
from tests.support.server import Server, running_server
from tests.support.terminal import at_terminal

TUTTI = [sys.executable, "-m", "tutti", "files"]
SCRIPTS = {
    "together-1": "files_together_v1.py",
    "together-2": "files_together_stainless.py",
    "together-3": "files_together_stainless.py",
    "openai": "files_openai.py",
    "together-node": "files.cjs",
}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Without models: `ready` would wait for one that can check."""
    with running_server([]) as server:
        yield server


@pytest.mark.parametrize("client", SCRIPTS)
def test_every_operation_on_files(client: str, server: Server) -> None:
    chosen = ["-", "-", "-", "check_"] if client in PYTHON_CLIENTS else []
    done = check_errors(
        run([*program(client, SCRIPTS[client]), *chosen], server, client, timeout_s=limit(200))
    )
    errors = [f"{name}: {error}" for name, error in done.items() if error]
    assert done and not errors, "\n".join(errors)


def test_our_command_line(server: Server, tmp_path: Path) -> None:
    data = b'{"text": "one"}\n' * 1000
    path = tmp_path / "example.jsonl"
    path.write_bytes(data)

    def files(*arguments: str, status: int = 0) -> str:
        return run([*TUTTI, *arguments], server, status=status, cwd=tmp_path, timeout_s=limit(200))

    assert files("check", str(path)) == "OK Checks passed\n"
    file = json.loads(files("upload", str(path), "--json"))
    assert file["checksum"] == hashlib.sha256(data).hexdigest()
    assert file["id"] in files("upload", str(path), "--no-check")  # known already
    assert file["id"] in files("list")
    assert [it["id"] for it in json.loads(files("list", "--json"))].count(file["id"]) == 1
    assert "example.jsonl" in files("retrieve", file["id"])
    assert files("retrieve-content", file["id"], "--stdout") == data.decode()
    folder = tmp_path / "downloads"
    assert "example.jsonl" in files("retrieve-content", file["id"], "--output", str(folder))
    assert (folder / "example.jsonl").read_bytes() == data
    assert json.loads(files("delete", file["id"], "--json"))["deleted"]
    assert file["id"] in files("retrieve", file["id"], status=1)
    assert "'eval'" in files("upload", str(path), "--purpose", "fun", status=1)
    path.write_bytes(b'{"text": 1}\n{"text": 2}\n')
    said = files("upload", str(path), status=1)
    assert "Line 1: " in said and "line 2: " in said and "--no-check" in said


@contextmanager
def narrowed(url: str) -> Iterator[str]:
    """A way to the server on which large files never arrive, however late somebody presses Ctrl-C: after
    32 MB nothing moves on any more."""
    address = urlsplit(url)
    ends: list[socket.socket] = []

    def connect() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((address.hostname, address.port))
                ends.extend((client, server))
                for way in ((client, server), (server, client)):
                    threading.Thread(target=_carry, args=way, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=connect, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for end in (listener, *ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _carry(source: socket.socket, target: socket.socket) -> None:
    left = 32_000_000
    with suppress(OSError):
        while left > 0 and (data := source.recv(65_536)):
            target.sendall(data)
            left -= len(data)
        if left > 0:
            target.shutdown(socket.SHUT_WR)


def test_ctrl_c_at_a_progress_bar_leaves_nothing(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(64 * 1024 * 1024)

    def files(*arguments: str, interrupt_at: str = "") -> tuple[int, str]:
        """The exit status, and what is seen at the terminal."""
        with narrowed(server.url) if interrupt_at else nullcontext(server.url) as url:
            env = {**os.environ, **environment(url)}
            with at_terminal([*TUTTI, *arguments], env, cwd=tmp_path) as terminal:
                if interrupt_at:
                    terminal.wait_for(interrupt_at, within_s=100)
                    terminal.type("\x03")
                return terminal.end(), terminal.seen

    upload = ("upload", str(path), "--purpose", "user_data")
    status, seen = files(*upload, interrupt_at=r"Uploading large.jsonl .* [MG]B/s")
    assert (status, "Traceback" in seen) == (130, False)
    assert "large.jsonl" not in [it["filename"] for it in server.client.get("/v1/files").json()["data"]]
    status, seen = files(*upload)
    assert status == 0 and "67.1/67.1 MB" in seen
    (id,) = set(re.findall(r"file-\w+", seen))
    content = ("retrieve-content", id, "--output", str(tmp_path / "folder" / "back.jsonl"))
    status, seen = files(*content, interrupt_at=r"Downloading back.jsonl .* [MG]B/s")
    assert (status, "Traceback" in seen) == (130, False)
    assert list((tmp_path / "folder").iterdir()) == []
