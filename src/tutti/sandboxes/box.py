"""A sandbox that is a child process of this server, with all its processes below that child."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple, Self

from tutti.sandboxes.base import HOME

_COMPLAINT_BYTES = 2000
_PROC_BYTES = 64 * 1024
_BUFFER_BYTES = 256 * 1024


class ProcessBox:
    """A sandbox started by `process`, whose child is the sandbox's first process; that one's child is the
    runner."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", reader: "_Reader", writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader.stream
        self.writer = writer
        self._reading = reader.transport
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._end)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        pass_fds: Sequence[int] = (),
        *,
        program: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Start the command and connect to its pipes. Raise OSError if that fails.

        `program` is the executable, if it is not argv[0]. Without `env` the environment is empty. This does
        not use asyncio's subprocesses: with uvloop a child inherits descriptors of the server, and asyncio's
        own loop does not notice the end of a process whose output nobody reads."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(  # noqa: ASYNC220 (a millisecond; it has to be a child of this thread)
            argv,
            bufsize=0,
            executable=program,
            pass_fds=pass_fds,
            env=env or {},
            cwd="/",
            start_new_session=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        try:
            return cls(process, await _reader(process.stdout), await _writer(process.stdin))
        except BaseException:
            process.kill()
            process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._ended.done()

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
        return await asyncio.shield(self._ended)

    def pids(self) -> Sequence[int]:
        return tree(self.pid) if self.is_alive else ()

    def files(self) -> int:
        return sum(map(files_of, children(self.pid)[:1]))

    def complaint(self) -> str:
        stderr = self._process.stderr
        if stderr is None or stderr.closed:
            return ""
        os.set_blocking(stderr.fileno(), False)
        return (stderr.read(_COMPLAINT_BYTES) or b"").decode(errors="replace").strip()

    def close(self) -> None:
        self._reading.close()
        self.writer.close()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._process.wait()
        self._ended.set_result(code if code >= 0 else 128 - code)


class _Reader(NamedTuple):
    stream: asyncio.StreamReader
    transport: asyncio.BaseTransport


async def _reader(pipe: IO[bytes] | None) -> _Reader:
    stream = asyncio.StreamReader(_BUFFER_BYTES)
    connect = asyncio.get_running_loop().connect_read_pipe
    transport, _ = await connect(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    return _Reader(stream, transport)


async def _writer(pipe: IO[bytes] | None) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def files_of(pid: int) -> int:
    """Return the number of files in home and /tmp as process `pid` sees them, or 0 if it has ended."""
    with contextlib.suppress(OSError):
        found = os.statvfs(f"/proc/{pid}/root{HOME}")
        return found.f_files - found.f_ffree
    return 0


def tree(pid: int) -> list[int]:
    """Return the ids of all descendants of a process, children first."""
    found = children(pid)
    for descendant in found:  # grows as it is walked
        found.extend(children(descendant))
    return found


def children(pid: int) -> list[int]:
    """Return the ids of a process's children, oldest first, then adopted orphans. Empty if the process has
    ended."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (pathlib is three times as slow)
            found.extend(map(int, read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def read(path: str) -> bytes:
    """Read a file of /proc. Called often, so without pathlib. Raise OSError if that fails."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _PROC_BYTES)
    finally:
        os.close(fd)


def signal_to(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
