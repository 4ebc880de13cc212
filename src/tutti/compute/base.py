"""The protocol of compute drivers: a driver turns a Program into something that runs somewhere."""

from pathlib import Path
from typing import Protocol

from tutti.base.program import Program


class Handle(Protocol):
    """One started program. Its caller is the only one that stops it."""

    @property
    def address(self) -> str:
        """Base URL of the program, without a trailing slash."""
        ...

    @property
    def alive(self) -> bool: ...

    async def wait(self) -> int:
        """Wait for its end, and return the exit status; 128 + n if signal n ended it."""
        ...

    async def stop(self) -> int:
        """Ask it to end, insist after a grace, and wait; nothing of it is left afterwards."""
        ...

    def kill(self) -> None:
        """End it and all it started, now; `wait` returns soon after."""
        ...

    def rss_bytes(self) -> int:
        """Return the memory that it holds, with all it started; 0 if that cannot be known."""
        ...

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, with all it started that still runs; 0 if that cannot be
        known."""
        ...


class Driver(Protocol):
    @property
    def host(self) -> str:
        """The host on which its programs are reached."""
        ...

    def free_port(self) -> int:
        """Return a port on which a program may listen, for the program's description."""
        ...

    async def start(self, program: Program, log: Path, gpus: tuple[int, ...]) -> Handle:
        """Start the program. Its output goes to `log`; `gpus` are the only ones it may see."""
        ...
