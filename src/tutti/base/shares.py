"""Sharing a fixed number of places among projects: sessions of the code interpreter, WebSockets.

Where there is no room for one more, the project that has the most gives one up: the idle one that was used
longest ago. So no project can take all, and one that opens them without end only ever ends its own. Busy ones
are never ended.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Share(Protocol):
    """One session or socket of a project."""

    @property
    def project_id(self) -> str: ...

    @property
    def used_at(self) -> float:
        """The time of its last use, on any clock."""
        ...

    @property
    def is_idle(self) -> bool: ...


_Share = TypeVar("_Share", bound=Share)


class NoRoom(Exception):
    """No place can be freed, since none is idle. `is_own`: the project has reached its own limit."""

    def __init__(self, *, is_own: bool) -> None:
        super().__init__()
        self.is_own = is_own


@dataclass(frozen=True)
class Shares:
    """The most that there may be, and the most that one project may have."""

    most: int
    most_of_project: int

    @classmethod
    def of(cls, most: int, most_of_project: int) -> "Shares":
        """Make the limits from settings: 0 for a project stands for three quarters of all."""
        return cls(most, min(most, most_of_project or max(1, most * 3 // 4)))

    def giving_way(self, there: Iterable[_Share], project_id: str) -> _Share | None:
        """Return the one that has to end before this project gets one more; None where there is room. Raises
        NoRoom."""
        all_ = list(there)
        counts = Counter(share.project_id for share in all_)
        own = counts[project_id]
        is_own = own >= self.most_of_project
        if not is_own and len(all_) < self.most:
            return None
        richer = set[str]() if is_own else {name for name, count in counts.items() if count > own}
        idle = [share for share in all_ if share.is_idle and share.project_id in richer | {project_id}]
        if not idle:
            raise NoRoom(is_own=is_own)
        return min(idle, key=lambda share: (-counts[share.project_id], share.used_at))
