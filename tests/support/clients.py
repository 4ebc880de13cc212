"""The official clients, each unmodified in an environment of its own under .clients/, and how they are run.

`python -m tests.support.clients` makes all of them; `... --lock` pins them and all that they need anew.
An environment is made again when its lock changes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock
from tests.support.server import Server

PYTHON_CLIENTS = {
    "together-1": "together==1.5.35",
    "together-2": "together[realtime]==2.42.0",
    "together-3": "together[realtime]==3.1.1",
    "openai": "openai==3.52.0",
}
REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "tests" / "clients" / "scripts"
LOCKS = REPOSITORY / "tests" / "clients" / "locks"
ROOT = REPOSITORY / ".clients"


def python_client(name: str) -> Path:
    """Return the Python of the environment that has this client. The client's commands are beside it."""
    folder = ROOT / name
    with _once(folder, [LOCKS / f"{name}.txt"]) as fresh:
        if fresh:
            _install(folder, LOCKS / f"{name}.txt")
    return folder / "bin" / "python"


def node_client() -> Path | None:
    """Return a folder whose scripts can import `together-ai`, or None if there is no Node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    folder = ROOT / "node"
    locks = [LOCKS / "node" / name for name in ("package.json", "package-lock.json")]
    with _once(folder, locks) as fresh:
        if fresh:
            for lock in locks:
                shutil.copy(lock, folder)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)
    return folder


def available(client: str) -> bool:
    return client in PYTHON_CLIENTS or node_client() is not None


def program(client: str, script: str) -> list[str]:
    """Return the command that runs a script of tests/clients/scripts. Skip the test if there is no Node."""
    if client in PYTHON_CLIENTS:
        return [str(python_client(client)), str(SCRIPTS / script)]
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    return ["node", shutil.copy(SCRIPTS / script, folder)]


def environment(url: str, client: str = "", key: str = "any") -> dict[str, str]:
    """Return the environment variables for a client of the server at `url`, which has no /v1. Without a
    client: for our own command line."""
    base = url if client == "together-3" else f"{url}/v1"
    return {
        "TOGETHER_BASE_URL": base,
        "TOGETHER_API_BASE_URL": base,
        "TOGETHER_API_KEY": key,
        "TOGETHER_TELEMETRY_DISABLED": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",
        "OPENAI_BASE_URL": base,
        "OPENAI_API_KEY": key,
    }


def run(
    argv: Sequence[str | Path],
    server: Server,
    client: str = "",
    *,
    key: str = "any",
    status: int = 0,
    cwd: Path | None = None,
    timeout_s: float = 280.0,
    **variables: str,
) -> str:
    """Run a command and return its stdout; if a failure is expected (`status`), also its stderr."""
    env = {**os.environ, **environment(server.url, client, key), **variables}
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == status, done.stdout + done.stderr + server.output[-3000:]
    return done.stdout + done.stderr if status else done.stdout


def check_errors(printed: str) -> dict[str, str]:
    """Return the error of each check of `scripts/checks.py`, empty if it passed."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return {line["check"]: line["error"] for line in lines}


class _once:
    """Let one process in at a time. The value is True if there is something to do. The stamp is the hash of
    the locks; it is written if the body succeeds."""

    def __init__(self, folder: Path, locks: Sequence[Path]) -> None:
        text = b"".join(lock.read_bytes() for lock in locks) + sys.version.encode()
        self._stamp, self._hash = folder / "stamp", hashlib.sha256(text).hexdigest()
        self._lock = FileLock(f"{folder}.lock")
        ROOT.mkdir(exist_ok=True)

    def __enter__(self) -> bool:
        self._lock.acquire()
        folder = self._stamp.parent
        fresh = not self._stamp.exists() or self._stamp.read_text() != self._hash
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        return fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._stamp.write_text(self._hash)
        self._lock.release()


def _install(folder: Path, lock: Path) -> None:
    """Install with uv, which takes seconds, or with pip if uv fails (it does not read pip's
    configuration)."""
    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    uv, requirements = _uv(), ["--require-hashes", "-r", str(lock)]
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    try:
        _run([uv, "pip", "install", "--quiet", *requirements], env=environment)
    except (subprocess.CalledProcessError, OSError):
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])


def _uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


def _run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
) -> None:
    subprocess.run(argv, cwd=cwd, env=env, input=stdin, check=True, text=True)


def _lock_all() -> None:
    for name, requirement in PYTHON_CLIENTS.items():
        target = str(LOCKS / f"{name}.txt")
        compile_ = [_uv(), "pip", "compile", "--universal", "--generate-hashes", "--no-header", "--quiet"]
        _run([*compile_, "--python-version", "3.11", "-", "-o", target], stdin=requirement)
    npm = [
        "npm",
        "install",
        "--package-lock-only",
        "--no-audit",
        "--no-fund",
        "--omit-lockfile-registry-resolved",
    ]
    _run(npm, cwd=LOCKS / "node")


def main() -> None:
    if "--lock" in sys.argv:
        _lock_all()
    for name in PYTHON_CLIENTS:
        print(python_client(name))
    print(node_client() or "no Node here: the TypeScript client is left out")


if __name__ == "__main__":
    main()
