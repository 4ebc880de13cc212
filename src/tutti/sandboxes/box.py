"""A sandbox that is a child process of ours, with its whole tree below it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Self

from tutti.sandboxes.base import HOME

_COMPLAINT_BYTES = 2000
_PROC_BYTES = 64 * 1024
_BUFFER_BYTES = 256 * 1024


class ProcessBox:
    """`process` watches; its child is the sandbox's first process, whose first child is the runner."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None or process.stdin is None or process.stderr is None:
            raise ValueError("a sandbox's process needs its three pipes")
        self.reader = process.stdout
        self.writer = process.stdin
        self._stderr = process.stderr
        self._process = process

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        pass_fds: Sequence[int] = (),
        *,
        program: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """`program`: where it is not argv[0]. Without `env` its environment is empty. Raises OSError."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            executable=program,
            pass_fds=pass_fds,
            env=env or {},
            cwd="/",
            start_new_session=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=_BUFFER_BYTES,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    def interrupt(self) -> None:
        for first in children(self.pid):
            for runner in children(first)[:1]:
                signal_to(runner, signal.SIGINT)

    def kill(self) -> None:
        if self.is_alive:
            for first in children(self.pid):
                signal_to(first, signal.SIGKILL)  # the first of a PID namespace: the kernel ends the others
            signal_to(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def pids(self) -> Sequence[int]:
        return tree(self.pid) if self.is_alive else ()

    def files(self) -> int:
        with contextlib.suppress(OSError, IndexError):
            found = os.statvfs(f"/proc/{children(self.pid)[0]}/root{HOME}")
            return found.f_files - found.f_ffree
        return 0

    async def complaint(self) -> str:
        return (await self._stderr.read(_COMPLAINT_BYTES)).decode(errors="replace").strip()


def tree(pid: int) -> list[int]:
    """Its descendants, children first."""
    found = children(pid)
    for descendant in found:  # grows as it is walked
        found.extend(children(descendant))
    return found


def children(pid: int) -> list[int]:
    """Oldest first; orphans follow the others. Empty once it has ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (pathlib is three times as slow)
            found.extend(map(int, read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def read(path: str) -> bytes:
    """A file of /proc: asked for often, so not by pathlib. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _PROC_BYTES)
    finally:
        os.close(fd)


def signal_to(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
