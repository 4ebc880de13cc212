"""A session that a client has, as the sessions of all projects share what there is."""

import asyncio
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tutti.base.clock import monotonic_s
from tutti.sandboxes.session import Session


@dataclass
class Entry:
    """Times are Unix seconds."""

    id: str
    project_id: str
    session: Session
    started_at: float
    expires_at: float
    last_execute_at: float
    used_at: float
    """Monotonic: when an execution last began or ended."""
    execute_count: int = 0
    executing: int = 0
    """Those that wait for their turn are counted too."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: str | None = None

    @property
    def is_idle(self) -> bool:
        return self.executing == 0


@dataclass(frozen=True, eq=False)
class Opening:
    """A session that is being started."""

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
