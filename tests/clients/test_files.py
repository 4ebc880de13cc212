"""Files through the official clients and their command lines, unmodified, and through our own."""

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client
from tests.support.server import Server, running_server

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON_SCRIPTS = {
    "together-1": "files_together_v1.py",
    "together-2": "files_together_stainless.py",
    "together-3": "files_together_stainless.py",
    "openai": "files_openai.py",
}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Without models: `ready` would wait for one that can check."""
    with running_server([]) as server:
        yield server


@pytest.mark.parametrize("client", [*PYTHON_SCRIPTS, "together-node"])
def test_every_operation_on_files(client: str, server: Server) -> None:
    base = server.url if client == "together-3" else f"{server.url}/v1"
    env = {**os.environ, **_environment(base)}
    done = subprocess.run(_program(client), env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [f"{line['check']}: {line['error']}" for line in lines if line["error"]]
    assert lines and not errors, "\n".join(errors)


def test_our_command_line(server: Server, tmp_path: Path) -> None:
    data = b'{"text": "one"}\n' * 1000
    path = tmp_path / "example.jsonl"
    path.write_bytes(data)

    def files(*arguments: str, status: int = 0) -> str:
        argv = [sys.executable, "-m", "tutti", "files", *arguments]
        env = {**os.environ, **_environment(server.url)}
        done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

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


def test_ctrl_c_at_a_progress_bar_leaves_nothing(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as sparse:
        sparse.truncate(256 * 1024 * 1024)

    def files(*arguments: str, interrupt_at: str = "") -> tuple[int, str]:
        """The exit status, and what is seen at the terminal."""
        with at_terminal(server, tmp_path, arguments) as terminal:
            if interrupt_at:
                terminal.wait_for(interrupt_at)
                terminal.type("\x03")
            return terminal.end(), terminal.seen

    upload = ("upload", str(path), "--purpose", "user_data")
    status, seen = files(*upload, interrupt_at=r"Uploading large.jsonl .* MB/s")
    assert (status, "Traceback" in seen) == (130, False)
    assert "large.jsonl" not in [it["filename"] for it in server.client.get("/v1/files").json()["data"]]
    status, seen = files(*upload)
    assert status == 0 and "268.4/268.4 MB" in seen
    (id,) = set(re.findall(r"file-\w+", seen))
    content = ("retrieve-content", id, "--output", str(tmp_path / "folder" / "back.jsonl"))
    status, seen = files(*content, interrupt_at=r"Downloading back.jsonl .* MB/s")
    assert (status, "Traceback" in seen) == (130, False)
    assert list((tmp_path / "folder").iterdir()) == []


@dataclass
class Terminal:
    """A person at a command."""

    descriptor: int
    process: subprocess.Popen[bytes]
    seen: str = ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, pattern: str) -> None:
        while re.search(pattern, self.seen) is None:
            assert self._read(), f"no {pattern!r} in {self.seen!r}"

    def end(self) -> int:
        """The exit status."""
        while self._read():
            pass
        return self.process.wait(10)

    def _read(self) -> bool:
        """Whether anything came; nothing does any more once the other end is closed."""
        if not select.select([self.descriptor], [], [], 60)[0]:
            return False
        with contextlib.suppress(OSError):
            if raw := os.read(self.descriptor, 65_536).decode(errors="replace"):
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
                return True
        return False


@contextlib.contextmanager
def at_terminal(server: Server, home: Path, arguments: Sequence[str]) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "tutti", "files", *arguments]
    env = {**os.environ, **_environment(server.url), "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        argv,
        env=env,
        cwd=home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # So that Ctrl-C typed at the terminal is a signal to the child.
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _environment(base: str) -> dict[str, str]:
    return {
        "TOGETHER_BASE_URL": base,
        "TOGETHER_API_BASE_URL": base,
        "TOGETHER_API_KEY": "any",
        "OPENAI_BASE_URL": base,
        "OPENAI_API_KEY": "any",
        "TOGETHER_TELEMETRY_DISABLED": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",
    }


def _program(client: str) -> list[str]:
    if client in PYTHON_SCRIPTS:
        script = SCRIPTS / PYTHON_SCRIPTS[client]
        return [str(python_client(client)), str(script), "-", "-", "-", "check_"]
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "files.cjs"
    script.write_bytes((SCRIPTS / "files.cjs").read_bytes())
    return ["node", str(script)]
