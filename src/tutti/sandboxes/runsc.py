"""gVisor's runsc, the second driver: a kernel in user space handles the code's system calls.

It is slower than bubblewrap, but a bug in Linux does not let the code out. The gVisor kernel decides which
calls exist, so no filter is needed. It does not limit the number of processes: their memory and CPU time is
limited instead."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.base import HOME, PROXY_AT, UID_INSIDE, Box, Spec, runner_argv, runner_env
from tutti.sandboxes.box import ProcessBox
from tutti.sandboxes.tree import WRITABLE, bound_paths, write_tree

_READ_ONLY = ("bind", "ro", "nosuid", "nodev")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")


class Runsc:
    name = "runsc"

    async def start(self, spec: Spec) -> Box:
        program = _program()
        folder = Path(mkdtemp(prefix="tutti-runsc-"))
        runsc = (program, "--root", str(folder / "state"), *_flags(spec))
        try:
            await asyncio.to_thread(_write_bundle, folder, spec)
            process = await ProcessBox.start((*runsc, "run", "--bundle", str(folder), folder.name), ())
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise CannotSandbox(f"runsc cannot be started: {error}.") from error
            raise
        return RunscBox(process, runsc, folder)


class RunscBox:
    """A gVisor sandbox. Its kernel is a child process of this server, which does not show the code's
    processes."""

    def __init__(self, process: ProcessBox, runsc: Sequence[str], folder: Path) -> None:
        self.reader = process.reader
        self.writer = process.writer
        self._process = process
        self._runsc = runsc
        self._folder = folder
        self._interrupting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._interrupting.set_result(None)

    def interrupt(self) -> None:
        """Send one interrupt at a time. A second one that is still on its way could hit the next
        execution."""
        if self._process.is_alive and self._interrupting.done():
            self._interrupting = asyncio.ensure_future(self._interrupt())

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        status = await self._process.wait()
        await self._interrupting
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        return status

    def pids(self) -> Sequence[int]:
        return self._process.pids()

    def files(self) -> int:
        return 0  # they take memory, which is limited

    def complaint(self) -> str:
        return self._process.complaint()

    def close(self) -> None:
        self._process.close()

    async def _interrupt(self) -> None:
        nowhere = asyncio.subprocess.DEVNULL
        kill = await asyncio.create_subprocess_exec(
            *self._runsc, "kill", self._folder.name, "INT", stdin=nowhere, stdout=nowhere, stderr=nowhere
        )
        await kill.wait()


def _program() -> str:
    found = shutil.which("runsc")
    if found is None:
        raise CannotSandbox("There is no gVisor: the program runsc is not on the PATH.")
    return found


def _flags(spec: Spec) -> list[str]:
    """Return the flags of runsc. The watch and the runner enforce the limits; cgroups would need more rights
    than a server should have."""
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    sockets = ["--host-uds=open"] if spec.proxy is not None else []
    return ["--network=none", "--ignore-cgroups", *rootless, *sockets]


def _write_bundle(folder: Path, spec: Spec) -> None:
    uid = spec.uid or UID_INSIDE
    write_tree(folder / "root", spec.environment, uid)
    (folder / "config.json").write_text(json.dumps(config(spec, uid)))


def config(spec: Spec, uid: int) -> dict[str, Any]:
    """Return the config.json of an OCI bundle. Its file tree is the folder `root` beside it."""
    binds = [(str(path), str(path)) for path in bound_paths(spec.environment)]
    if spec.proxy is not None:
        binds.append((str(spec.proxy), PROXY_AT))
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": uid},
            "args": runner_argv(replace(spec, uid=None)),  # it starts as the right user
            "env": [f"{name}={value}" for name, value in runner_env(spec).items()],
            "cwd": HOME,
            "noNewPrivileges": True,
            "capabilities": {},
            "rlimits": [{"type": name, "hard": most, "soft": most} for name, most in _rlimits(spec).items()],
        },
        "root": {"path": "root", "readonly": True},
        "hostname": "sandbox",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            *(_tmpfs(path, spec.limits.disk_bytes // 2) for path in WRITABLE),
            *(
                {"destination": to, "type": "bind", "source": of, "options": list(_READ_ONLY)}
                for of, to in binds
            ),
        ],
        "linux": {"namespaces": [{"type": kind} for kind in _NAMESPACES]},
    }


def _tmpfs(path: str, size: int) -> dict[str, Any]:
    options = ["nosuid", "nodev", "mode=1777", f"size={size}"]
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}


def _rlimits(spec: Spec) -> dict[str, int]:
    """Return the runner's resource limits that gVisor can only set at the start."""
    return {
        "RLIMIT_NPROC": spec.limits.processes,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
    }
