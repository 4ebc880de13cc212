"""User ids for sandboxes, where we are root: one each, so that the kernel counts the processes of each by
itself, and none can send a signal to another's."""

import secrets
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tutti.base.errors import Unavailable

_NOBODYS = (range(1_900_000_000, 2_140_000_000), range(50_000, 60_000))
"""Where systemd's table of user ids has nobody, and where hardly anybody is: a container usually maps the ids
below 65,536 only."""
_MAPPED = Path("/proc/self/uid_map")


class Uids:
    """`take` one, and `give` it back when nothing runs under it any more."""

    def __init__(self, count: int, mapped: str | None = None) -> None:
        """`mapped`: what /proc/self/uid_map says, where it is not this process's. Raises Unavailable."""
        first = _first(count, _ranges(_MAPPED.read_text() if mapped is None else mapped))
        self._free = deque(range(first, first + count))

    def take(self) -> int:
        """The one that was given back longest ago. Raises Unavailable."""
        if not self._free:
            raise Unavailable("Too many sessions are ending at once; try again.", retry_after_s=1)
        return self._free.popleft()

    def give(self, uid: int) -> None:
        self._free.append(uid)


def _first(count: int, mapped: Iterable[range]) -> int:
    """Anywhere in the range: other servers on this machine, and tests, take theirs from there too."""
    there = list(mapped)
    for it in _NOBODYS:
        if len(it) >= count and any(it[0] in some and it[-1] in some for some in there):
            return it[0] + secrets.randbelow(len(it) - count + 1)
    raise Unavailable(
        f"As root the code interpreter needs {count} user ids from {_NOBODYS[-1][0]} on; this container does "
        "not map them. Run the server as an ordinary user, or with fewer interpreter_sessions."
    )


def _ranges(uid_map: str) -> Iterable[range]:
    """The user ids that there are here, lowest first, adjoining ranges as one."""
    lines = sorted((int(inside), int(length)) for inside, _, length in map(str.split, uid_map.splitlines()))
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(lines)) if sum(a) != b[0]), len(lines)]
    for begin, end in pairwise(starts):
        yield range(lines[begin][0], sum(lines[end - 1]))
