"""A child process under a shepherd, so that it never outlives this one."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

_SHEPHERD = Path(__file__).with_name("shepherd.py")
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME")


def worker_argv(name: str, *arguments: str | Path) -> tuple[str, ...]:
    """Return the command that runs the program `tutti.workers.<name>`."""
    return (sys.executable, "-m", f"tutti.workers.{name}", *map(str, arguments))


def inherited_env() -> dict[str, str]:
    """Return the part of this process's environment that a child inherits: nothing secret, nothing
    surprising."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


class Child:
    """A running child process. `pid` is the shepherd's; the program is its only child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], *, log: Path | None = None, grace_s: float = 5.0
    ) -> Self:
        """Start the program. Its output goes to `log`, emptied first, or where ours goes. It is appended, so
        that the file may be cut at any time. `grace_s` is the time from SIGTERM to SIGKILL."""
        shepherd = (sys.executable, "-I", "-S", str(_SHEPHERD), str(grace_s), *argv)
        with contextlib.ExitStack() as stack:
            output = None if log is None else stack.enter_context(_emptied(log).open("ab"))
            process = await asyncio.create_subprocess_exec(
                *shepherd,
                env=dict(env),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # signals to our group are ours to answer: a drain takes its time
            )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for the program to end, and return its exit status; 128 + n where signal n ended it."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Send SIGTERM to the program's group, and SIGKILL after the grace."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the program's group, now."""
        self._signal(signal.SIGUSR1)

    async def stop(self) -> int:
        self.terminate()
        return await self.wait()

    def rss_bytes(self) -> int:
        """Return the resident memory of the program and its descendants; 0 once it has ended."""
        return sum(map(_rss, self._tree()))

    def cpu_s(self) -> float:
        """Return the CPU time of the program and its running descendants; 0 once it has ended."""
        return sum(map(_cpu_s, self._tree()))

    def _tree(self) -> Sequence[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            return ()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _emptied(log: Path) -> Path:
    log.write_bytes(b"")
    return log


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
