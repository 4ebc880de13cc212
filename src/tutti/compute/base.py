"""What a compute driver is: it turns a Program into something that runs somewhere."""

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
        """The exit status; 128 + n where signal n ended it."""
        ...

    async def stop(self) -> int:
        """Asks it to end, insists after a grace, and waits; nothing of it is left afterwards."""
        ...

    def kill(self) -> None:
        """Ends it and all it started, now; `wait` returns soon after."""
        ...

    def rss_bytes(self) -> int:
        """Memory it holds, with all it started; 0 where that cannot be known."""
        ...

    def cpu_s(self) -> float:
        """What it has computed, with all it started that still runs; 0 where that cannot be known."""
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
        """Its output goes to `log`; `gpus` are the only ones it may see."""
        ...
