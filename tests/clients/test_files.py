"""Files through the official clients and their command lines, unmodified, and through our own."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
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
        return done.stdout if status == 0 else done.stderr

    file = json.loads(files("upload", str(path), "--no-check", "--json"))
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
