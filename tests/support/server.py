"""A real `tutti serve`, in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
from tests.support import environment
from tests.support.patience import limit
from tests.support.template import put_database
from tests.support.weights import lend

from tutti.base.model import Model

ECHO = Model(name="echo", type="chat", engine="echo")
_READY_S = 100.0
_END_S = 60.0


@dataclass(frozen=True)
class Server:
    """`url` has no /v1; `client` is at it, with a key."""

    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    client: httpx.Client

    @property
    def pid(self) -> int:
        """The controller's."""
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything that the server has printed and logged so far."""
        return (self.data_dir / "output").read_text(errors="replace")

    def tree(self) -> list[psutil.Process]:
        """Return all processes that the server has started, shepherds included."""
        return psutil.Process(self.pid).children(recursive=True)

    def workers(self) -> list[int]:
        """Pids of the API workers."""
        return [it.pid for it in self.tree() if argv_of(it)[1:] == ["-m", "tutti.app.api"]]

    def job_workers(self) -> list[int]:
        """Pids of those that are there now."""
        return [it.pid for it in self.tree() if argv_of(it)[1:] == ["-m", "tutti.app.jobworker"]]

    def engines(self) -> list[int]:
        """Pids of the engine programs."""
        found = ((it.pid, argv_of(it)) for it in self.tree())
        return [
            pid
            for pid, argv in found
            if argv[1:2] == ["-m"] and "tutti.workers" in argv[2] and "--port" in argv
        ]

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = _END_S) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(limit(within_s))


@contextlib.contextmanager
def running_server(
    models: Sequence[str | Model] = (ECHO,),
    *,
    ready: bool = True,
    key: str = "any",
    lent: Sequence[str] | None = None,
    interpreter: bool = False,
    **settings: Any,
) -> Iterator[Server]:
    """Run a server. `models` are loaded at start: names of the catalogue, paths, or entries, which are put
    into a catalogue file. `catalog` may hold more entries that are not loaded. Wait for /readyz unless
    `ready` is False. Weights are kept in $TUTTI_TEST_CACHE between runs; with `lent`, only those are there,
    and what the server adds is not kept. `interpreter`: with the environment that the code interpreter
    needs."""
    with tempfile.TemporaryDirectory(prefix="tutti-", ignore_cleanup_errors=True) as folder:
        data_dir = Path(folder)
        if "database_url" not in settings and "--database-url" not in settings.get("arguments", ()):
            put_database(data_dir)
        if lent is None:
            _share_weights(data_dir)
        else:
            lend(data_dir, *lent)
        if interpreter:
            environment.lend(data_dir)
        with started(data_dir, models, **settings) as process:
            url = _url(process, data_dir)
            client = _client(url, key)
            with client:
                server = Server(url, data_dir, process, client)
                if ready:
                    wait_ready(server)
                yield server


@contextlib.contextmanager
def started(
    data_dir: Path,
    models: Sequence[str | Model] = (ECHO,),
    catalog: Sequence[Model] = (),
    arguments: Sequence[str] = (),
    python: Path | str = sys.executable,
    **settings: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Just the process: nobody waits for it to be ready. It is ended with all it started."""
    entries = [*catalog, *(it for it in models if isinstance(it, Model))]
    (data_dir / "catalogue.toml").write_text("".join(map(_toml_entry, entries)))
    names = [it if isinstance(it, str) else it.name for it in models]
    chosen = {"data_dir": data_dir, "port": 0, "models": names, "catalog": data_dir / "catalogue.toml"}
    env = {**_plain_environment(), **_variables({**chosen, **settings})}
    (data_dir / "url").unlink(missing_ok=True)
    argv = (str(python), "-m", "tutti", "serve", *arguments)
    with (data_dir / "output").open("wb") as output:
        process = subprocess.Popen(argv, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        _end(process)


@contextlib.contextmanager
def killed_and_restarted(server: Server, models: Sequence[str | Model], **settings: Any) -> Iterator[Server]:
    """Kill the controller with all that depends on it, and start it again on the same data."""
    children = server.tree()
    server.process.kill()
    server.process.wait()
    psutil.wait_procs(children, timeout=limit(60))
    port = int(server.url.rpartition(":")[2])
    with started(server.data_dir, models, port=port, **settings) as process:
        again = Server(server.url, server.data_dir, process, server.client)
        wait_ready(again)
        yield again


def wait_ready(server: Server, within_s: float = _READY_S) -> None:
    give_up_at = time.monotonic() + limit(within_s)
    while True:
        with contextlib.suppress(httpx.TransportError):
            if server.client.get("/readyz").status_code == 200:
                return
        assert server.process.poll() is None, f"it ended:\n{server.output}"
        assert time.monotonic() < give_up_at, f"it was not ready in time:\n{server.output}"
        time.sleep(0.05)


def _client(url: str, key: str) -> httpx.Client:
    """Return a client. `verify=False` only saves the time of reading certificates."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, verify=False, timeout=limit(60))


def _url(process: subprocess.Popen[bytes], data_dir: Path) -> str:
    """Wait for the file in which the controller writes its URL, and return the URL."""
    give_up_at = time.monotonic() + limit(_READY_S)
    while not (url := _read(data_dir / "url")):
        assert process.poll() is None, f"it ended:\n{(data_dir / 'output').read_text()}"
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    return url


def _read(path: Path) -> str:
    """Return the file's text. It is empty while the file is being written."""
    return path.read_text().strip() if path.exists() else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(limit(_END_S))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _share_weights(data_dir: Path) -> None:
    cache = Path(os.environ.get("TUTTI_TEST_CACHE", "~/.cache/tutti-tests")).expanduser() / "models"
    cache.mkdir(parents=True, exist_ok=True)
    (data_dir / "models").symlink_to(cache)


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TUTTI_")}


def _variables(settings: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"TUTTI_{name.upper()}": json.dumps(value) if isinstance(value, list | dict | bool) else str(value)
        for name, value in settings.items()
    }


def _toml_entry(model: Model) -> str:
    fields = msgspec.to_builtins(model)
    del fields["name"], fields["project_id"]
    return f"{json.dumps(model.name)} = {_toml(fields)}\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
        )
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def argv_of(process: psutil.Process) -> list[str]:
    """Return the command line, empty if the process has ended since it was found."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
