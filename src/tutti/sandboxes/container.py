"""Podman or Docker, by their command line. The third driver, for machines that have one of them and no more.

The image is a few files of ours, made once and imported; /usr, the Python and its environment are bound into
it, read-only. What the engine limits and refuses comes on top of what the runner and the watch do, since
engines differ: some ignore limits, some let containers make user namespaces or vsock connections.
"""

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
"""Podman would have /run and /tmp writable, and as large as the machine's memory."""
_OWN_VARIABLES = ("DOCKER_", "CONTAINER_", "CONTAINERS_", "REGISTRY_", "XDG_", "DBUS_")


class Container:
    """`name`: the program, podman or docker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._images: dict[Path, str] = {}
        self._preparing = asyncio.Lock()

    async def start(self, spec: Spec) -> Box:
        engine = Engine(self.name)
        async with self._preparing:  # once for each environment; the code begins as who it shall be
            if spec.environment not in self._images:
                await _sweep(engine)
                self._images[spec.environment] = await _import(engine, spec.environment)
        container = f"{_owner(os.getpid())}-{secrets.token_hex(8)}"
        options = (*_options(spec, container), *_OWN_OPTIONS.get(self.name, ()))
        image = self._images[spec.environment]
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
    """`client` is the engine's, attached to the container, which is the engine's child."""

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
        """Until the container's first process is known, or the client has given up."""
        async with asyncio.timeout(_START_S):
            while self._client.is_alive and self._first == 0:
                said = await self._engine.ask("inspect", "--format", "{{.State.Pid}}", self._name)
                self._first = int(said) if said.isdigit() else 0
                await asyncio.sleep(0 if self._first else _LOOK_S)

    def interrupt(self) -> None:
        """By ourselves where we may: an engine takes long enough for the next execution to begin."""
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
        """Again and again: it may only be on the way."""
        while self._client.is_alive:
            await self._signal("KILL")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._client.wait(), _AGAIN_S)


class Engine:
    """The program, and the little of our environment that it needs to find its daemon and its storage."""

    def __init__(self, name: str) -> None:
        found = shutil.which(name)
        if found is None:
            raise CannotSandbox(f"There is no {name}: the program is not on the PATH.")
        self._program = found
        own = {key: value for key, value in os.environ.items() if key.startswith(_OWN_VARIABLES)}
        self._env = {**inherited_env(), **own}

    async def attached(self, *args: str) -> ProcessBox:
        return await ProcessBox.start((self._program, *args), env=self._env)

    async def run(self, *args: str, told: bytes = b"") -> str:
        """What it says on stdout. Raises CannotSandbox with what it complains about."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            self._program, *args, env=self._env, stdin=pipe, stdout=pipe, stderr=pipe
        )
        said, complaint = await process.communicate(told)
        if process.returncode:
            raise CannotSandbox(f"{' '.join(args)}: {complaint.decode(errors='replace').strip()[-500:]}")
        return said.decode().strip()

    async def ask(self, *args: str) -> str:
        """What it says on stdout; empty where it fails."""
        try:
            return await self.run(*args)
        except CannotSandbox:
            return ""


async def _import(engine: Engine, environment: Path) -> str:
    """The image's name. It is made anew when anything in it changes."""
    archive = await asyncio.to_thread(packed_tree, environment)
    image = f"localhost/tutti-sandbox:{hashlib.sha256(archive).hexdigest()[:16]}"
    if not await engine.ask("image", "inspect", "--format", "{{.Id}}", image):
        await engine.run("import", "-", image, told=archive)
    return image


def packed_tree(environment: Path) -> bytes:
    """The same bytes each time."""

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
    """Ends what servers left behind that were killed: a container does not end with who started it."""
    listed = await engine.ask("ps", "--all", "--filter", "name=^tutti-", "--format", "{{.Names}}")
    ours = re.compile(rf"({_kin()}-(\d+)-\d+)-[0-9a-f]{{16}}")
    for match in filter(None, map(ours.fullmatch, listed.split())):
        if match[1] != _owner(int(match[2])):
            await engine.ask("kill", "--signal", "KILL", match[0])
            await engine.ask("rm", "--force", match[0])


def _kin() -> str:
    """Of all servers whose process ids mean the same as ours."""
    return f"tutti-{Path('/proc/self/ns/pid').stat().st_ino}"


def _owner(pid: int) -> str:
    """The beginning of its containers' names: no process had or will have the same. Empty if it is gone."""
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
