"""The part of a workload that differs from kind to kind. Everything else is the runner's."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from tutti.base.program import Program, Progress, Share
from tutti.meeting.wants import Key

Tell = Callable[[str], Awaitable[None]]
"""Writes into the workload's row what it is doing, for people."""


class CannotRun(Exception):
    """The workload fails for good: the text says why."""


@dataclass(frozen=True)
class Site:
    """The place where a workload's program is to run: a free port, and the GPUs and the number of threads
    that it may use."""

    port: int
    gpus: tuple[int, ...]
    threads: int


@dataclass(frozen=True)
class Gauge:
    """The way to see how far a program is: `read` understands the answers of `path`, which must come from
    the loop that does the work. It raises ValueError for what it does not understand."""

    path: str
    read: Callable[[bytes], Progress]


class Workload(ABC):
    """Something that needs a share of a machine. One object lives from the want to the end; its program may
    be started many times.

    A subclass has a program. Everything else stands here with the value that fits most kinds.
    """

    preparing: ClassVar[str] = "starting"
    """The state of its row until it is prepared."""

    def __init__(self, key: Key, entry: Mapping[str, Any]) -> None:
        self.key = key
        self.entry = entry
        """The description that it is made from, for its row."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns of its row that its kind alone has."""
        return {}

    @property
    def log_name(self) -> str:
        """The name of its program's log, without a suffix. No two workloads of a node have the same."""
        return "@".join(quote(part, safe="") for part in (self.key.kind, self.key.project_id, self.key.name))

    # --- before its program ---------------------------------------------------------------------------

    async def prepare(self, tell: Tell) -> None:  # noqa: B027 - most kinds have nothing to do here
        """Do what has to be done before there is a program, such as pulling weights. Raise CannotRun with
        the reason why that can't be done."""

    def share(self, whole: Share) -> Share | None:  # noqa: ARG002 - for subclasses
        """Return what it needs of a machine that has the whole, if the want does not say it. None: nothing
        is started, and `address` returns where others run it."""
        return Share()

    def address(self) -> str:
        """Return the base URL of a workload that others run, without a trailing slash."""
        raise CannotRun("it does not say where it runs")

    # --- its program ----------------------------------------------------------------------------------

    @abstractmethod
    def program(self, site: Site) -> Program:
        """Return the program for its next start."""

    @property
    def gauge(self) -> Gauge | None:
        """None: its progress is never asked for. It then counts as idle, and nobody sees whether it hangs."""
        return None

    def became_ready(self) -> None:  # noqa: B027
        """Learn that the running program is healthy."""

    def changed(self) -> None:  # noqa: B027
        """Learn that its row has changed."""

    async def outgrows(self) -> str:
        """Return once the running program is no longer what is wanted, with the words for what it does until
        it is started again: the runner first lets it finish its requests."""
        return await asyncio.get_running_loop().create_future()

    def has_adapted(self, last_words: str) -> bool:  # noqa: ARG002
        """Change what the next program is, after one that ended before it was ready. False: it would be the
        same again, so that this counts as a failure."""
        return False
