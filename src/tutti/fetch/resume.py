"""Rules of downloads that are continued: which answers are worth another try, after which pause, and from
where."""

import errno
import random
import re

import aiohttp

SPARE_BYTES = 64 << 20
"""Space left free for the database and logs, which share the disk."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_transient(status: int) -> bool:
    """Return whether a request with this HTTP status is worth another try."""
    return status in (408, 425, 429) or status >= 500


def pause_s(failed: int) -> float:
    """Return how long to wait after so many tries in a row that brought nothing."""
    return 0.25 * 2**failed * random.uniform(0.5, 1)


def extent(response: aiohttp.ClientResponse) -> tuple[int, int] | None:
    """Return where the body starts in the file, and the file's size in bytes (0: unknown). None: the answer
    is no part of a file, or does not say which."""
    if response.status == 200:
        return 0, response.content_length or 0
    match = _RANGE.match(response.headers.get("content-range", ""))
    return (int(match[1]), int(match[2])) if match and response.status == 206 else None


def is_disk_full(error: OSError) -> bool:
    return error.errno in _FULL
