"""User ids for sandboxes of a server that runs as root. Each sandbox has one of its own.

So the kernel counts the processes of each sandbox separately, and none can send signals to another's."""

import secrets
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tutti.base.errors import Unavailable

_UNUSED = (range(1_900_000_000, 2_140_000_000), range(50_000, 60_000))
"""Ranges of unused user ids: one that is free in systemd's table, and one that is hardly ever used, for
containers, which usually map only the ids below 65,536."""
_MAPPED = Path("/proc/self/uid_map")


class Uids:
    """A stock of user ids. `take` one, and `give` it back when no process runs under it any more."""

    def __init__(self, count: int, mapped: str | None = None) -> None:
        """Reserve `count` ids. Raise Unavailable if they are not mapped here. `mapped` replaces the content
        of /proc/self/uid_map."""
        first = _first(count, _ranges(_MAPPED.read_text() if mapped is None else mapped))
        self._free = deque(range(first, first + count))

    def take(self) -> int:
        """Return the id that was given back longest ago. Raise Unavailable if none is free."""
        if not self._free:
            raise Unavailable("Too many sessions are ending at once; try again.", retry_after_s=1)
        return self._free.popleft()

    def give(self, uid: int) -> None:
        self._free.append(uid)


def _first(count: int, mapped: Iterable[range]) -> int:
    """Choose the first id at random within a range, because other servers and tests take ids from it, too."""
    mapped = list(mapped)
    for unused in _UNUSED:
        if len(unused) >= count and any(unused[0] in ids and unused[-1] in ids for ids in mapped):
            return unused[0] + secrets.randbelow(len(unused) - count + 1)
    raise Unavailable(
        f"As root the code interpreter needs {count} user ids from {_UNUSED[-1][0]} on; this container does "
        "not map them. Run the server as an ordinary user, or with fewer interpreter_sessions."
    )


def _ranges(uid_map: str) -> Iterable[range]:
    """Parse a uid_map into ranges of user ids, lowest first, with adjoining ranges joined."""
    lines = sorted((int(inside), int(length)) for inside, _, length in map(str.split, uid_map.splitlines()))
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(lines)) if sum(a) != b[0]), len(lines)]
    for begin, end in pairwise(starts):
        yield range(lines[begin][0], sum(lines[end - 1]))
