"""Podman or Docker through their command lines: the third driver, where neither bubblewrap nor runsc
works.

The image is a few files of ours, made once and imported. /usr, the Python and its environment are bound into
it read-only. The engine's limits come on top of those that the runner and the watch enforce, because engines
differ: some ignore limits, some let containers make user namespaces or vsock connections."""

import asyncio
import contextlib
import hashlib
import io
import os
import re
import secrets
import shutil
import signal
import tarfile
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from tutti.base.errors import CannotSandbox
from tutti.process.child import inherited_env
from tutti.sandboxes.base import (
    HOME,
    PROXY_AT,
    SHARED_MEMORY_BYTES,
    UID_INSIDE,
    Box,
    Spec,
    runner_argv,
    runner_env,
)
from tutti.sandboxes.box import ProcessBox, files_of, tree
from tutti.sandboxes.seccomp import filter_program
from tutti.sandboxes.tree import WRITABLE, bound_paths, write_tree

_LOOK_S = 0.05
_AGAIN_S = 1.0
_START_S = 30.0
_OWN_OPTIONS = {"podman": ("--read-only-tmpfs=false",)}
"""Without this, Podman makes /run and /tmp writable and as large as the machine's memory."""
_OWN_VARIABLES = ("DOCKER_", "CONTAINER_", "CONTAINERS_", "REGISTRY_", "XDG_", "DBUS_")


class Container:
    """The driver for one container engine. `name` is its program, podman or docker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._images: dict[Path, str] = {}
        self._preparing = asyncio.Lock()

    async def start(self, spec: Spec) -> Box:
        engine = Engine(self.name)
        async with self._preparing:  # once for each environment
            if spec.environment not in self._images:
                await _sweep(engine)
                self._images[spec.environment] = await _import(engine, spec.environment)
        container = f"{_owner(os.getpid())}-{secrets.token_hex(8)}"
        options = (*_options(spec, container), *_OWN_OPTIONS.get(self.name, ()))
        image = self._images[spec.environment]
        # The container starts as the right user, so the runner does not change it (uid=None).
        runner = runner_argv(replace(spec, uid=None), seccomp=filter_program())
        client = await engine.attached("run", *options, image, *runner)
        box = ContainerBox(client, engine, container)
        try:
            await box.begun()
        except BaseException as error:
            box.kill()
            await box.wait()
            box.close()
            if isinstance(error, TimeoutError):
                raise CannotSandbox(
                    f"{self.name} did not start a container within {_START_S:g} s."
                ) from error
            raise
        return box


class ContainerBox:
    """A sandbox in a container. `client` is the engine's command-line client, attached to the container."""

    def __init__(self, client: ProcessBox, engine: "Engine", name: str) -> None:
        self._client = client
        self.reader = self._client.reader
        self.writer = self._client.writer
        self._engine = engine
        self._name = name
        self._first = 0
        self._ending = False
        self._commands: set[asyncio.Task[None]] = set()

    async def begun(self) -> None:
        """Wait until the container's first process is known, or the client has given up."""
        async with asyncio.timeout(_START_S):
            while self._client.is_alive and self._first == 0:
                pid = await self._engine.ask("inspect", "--format", "{{.State.Pid}}", self._name)
                self._first = int(pid) if pid.isdigit() else 0
                await asyncio.sleep(0 if self._first else _LOOK_S)

    def interrupt(self) -> None:
        """Send SIGINT to the runner, directly if permitted. By way of the engine it takes so long that the
        next execution may have begun."""
        if self.pids():
            try:
                os.kill(self._first, signal.SIGINT)
            except PermissionError:
                self._do(self._signal("INT"))
            except ProcessLookupError:
                return  # it has just ended

    def kill(self) -> None:
        if not self._ending and self._client.is_alive:
            self._ending = True
            self._do(self._end())

    async def wait(self) -> int:
        status = await self._client.wait()
        await asyncio.gather(*self._commands)
        return status

    def pids(self) -> Sequence[int]:
        if not self._client.is_alive or self._first == 0:
            return ()
        return [self._first, *tree(self._first)]

    def files(self) -> int:
        return files_of(self._first)

    def complaint(self) -> str:
        return self._client.complaint()

    def close(self) -> None:
        self._client.close()

    def _do(self, command: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(command)
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _signal(self, name: str) -> None:
        await self._engine.ask("kill", "--signal", name, self._name)

    async def _end(self) -> None:
        """Kill the container repeatedly until the client ends: it may not have started yet."""
        while self._client.is_alive:
            await self._signal("KILL")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._client.wait(), _AGAIN_S)


class Engine:
    """The engine's program, with the few environment variables that it needs to find its daemon and
    storage."""

    def __init__(self, name: str) -> None:
        found = shutil.which(name)
        if found is None:
            raise CannotSandbox(f"There is no {name}: the program is not on the PATH.")
        self._program = found
        own = {key: value for key, value in os.environ.items() if key.startswith(_OWN_VARIABLES)}
        self._env = {**inherited_env(), **own}

    async def attached(self, *args: str) -> ProcessBox:
        return await ProcessBox.start((self._program, *args), env=self._env)

    async def run(self, *args: str, stdin: bytes = b"") -> str:
        """Run a command with `stdin` and return its stdout. Raise CannotSandbox with the end of its stderr if
        it fails."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            self._program, *args, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe
        )
        output, complaint = await process.communicate(stdin)
        if process.returncode:
            raise CannotSandbox(f"{' '.join(args)}: {complaint.decode(errors='replace').strip()[-500:]}")
        return output.decode().strip()

    async def ask(self, *args: str) -> str:
        """Run a command and return its stdout, or an empty string if it fails."""
        try:
            return await self.run(*args)
        except CannotSandbox:
            return ""


async def _import(engine: Engine, environment: Path) -> str:
    """Import the image if it does not exist, and return its name. Changed content gives it a new name."""
    archive = await asyncio.to_thread(packed_tree, environment)
    image = f"localhost/tutti-sandbox:{hashlib.sha256(archive).hexdigest()[:16]}"
    if not await engine.ask("image", "inspect", "--format", "{{.Id}}", image):
        await engine.run("import", "-", image, stdin=archive)
    return image


def packed_tree(environment: Path) -> bytes:
    """Return the image's files as a tar archive. The same files always give the same bytes."""

    def plain(file: tarfile.TarInfo) -> tarfile.TarInfo:
        file.uid = file.gid = file.mtime = 0
        file.uname = file.gname = ""
        return file

    packed = io.BytesIO()
    with TemporaryDirectory() as folder, tarfile.open(fileobj=packed, mode="w") as archive:
        write_tree(Path(folder), environment, UID_INSIDE)
        for path in sorted(Path(folder).rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
    return packed.getvalue()


async def _sweep(engine: Engine) -> None:
    """Remove containers of killed servers: a container does not end with the process that started it."""
    listed = await engine.ask("ps", "--all", "--filter", "name=^tutti-", "--format", "{{.Names}}")
    ours = re.compile(rf"({_kin()}-(\d+)-\d+)-[0-9a-f]{{16}}")
    for match in filter(None, map(ours.fullmatch, listed.split())):
        if match[1] != _owner(int(match[2])):
            await engine.ask("kill", "--signal", "KILL", match[0])
            await engine.ask("rm", "--force", match[0])


def _kin() -> str:
    """Return the name prefix of all servers in this PID namespace: only their process ids can be compared."""
    return f"tutti-{Path('/proc/self/ns/pid').stat().st_ino}"


def _owner(pid: int) -> str:
    """Return the prefix of the container names of process `pid`. It has the start time, so no other process
    ever has the same. Empty if the process has ended."""
    try:
        return f"{_kin()}-{pid}-{psutil.Process(pid).create_time() * 100:.0f}"
    except psutil.Error:
        return ""


def _options(spec: Spec, name: str) -> Iterator[str]:
    limits, uid = spec.limits, spec.uid or UID_INSIDE
    yield from ("--rm", "--interactive", "--name", name)
    yield from ("--pull", "never", "--log-driver", "none", "--hostname", "sandbox", "--workdir", HOME)
    yield from ("--network", "none", "--ipc", "private", "--read-only", "--user", f"{uid}:{uid}")
    yield from ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    memory = str(limits.memory_bytes + limits.disk_bytes)  # files are in memory, too
    yield from ("--memory", memory, "--memory-swap", memory, "--pids-limit", str(2 * limits.processes))
    yield from ("--shm-size", str(SHARED_MEMORY_BYTES))
    for path in WRITABLE:
        yield from ("--tmpfs", f"{path}:rw,nosuid,nodev,exec,mode=1777,size={limits.disk_bytes // 2}")
    for path in bound_paths(spec.environment):
        yield from ("--volume", f"{path}:{path}:ro")
    if spec.proxy is not None:
        yield from ("--volume", f"{spec.proxy}:{PROXY_AT}")
    for key, value in runner_env(spec).items():
        yield from ("--env", f"{key}={value}")
