"""A client's session, as an entry in the table of all projects' sessions."""

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tutti.base.clock import monotonic_s
from tutti.sandboxes.session import Session


@dataclass
class Entry:
    """One session in the table. Times are Unix seconds, except for `used_at`."""

    id: str
    project_id: str
    session: Session
    started_at: float
    expires_at: float
    last_execute_at: float
    used_at: float
    """Monotonic time at which an execution last began or ended."""
    execute_count: int = 0
    executing: int = 0
    """Number of executions, including those that wait for their turn."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: str | None = None

    @property
    def is_idle(self) -> bool:
        return self.executing == 0


@dataclass(frozen=True, eq=False)
class Opening:
    """A session that is being started. It counts like an `Entry` when room is shared."""

    project_id: str
    used_at: float = math.inf
    is_idle: bool = False


@contextmanager
def executing(entry: Entry) -> Generator[None]:
    entry.executing += 1
    entry.used_at = monotonic_s()
    try:
        yield
    finally:
        entry.executing -= 1
        entry.used_at = monotonic_s()
