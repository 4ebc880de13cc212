"""The Range header (RFC 9110, section 14): one range of bytes, or it is ignored."""

import re
from typing import ClassVar

from tutti.base.errors import InvalidRequest

_ONE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\s*", re.ASCII)


class RangeNotSatisfiable(InvalidRequest):
    status: ClassVar[int] = 416

    def __init__(self, total: int) -> None:
        super().__init__(f"The file has {total} bytes: the range lies beyond them.", param="range")
        self._total = total

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "content-range": f"bytes */{self._total}"}


def parse_range(header: str | None, total: int) -> tuple[int, int] | None:
    """Return start and end (exclusive) of the range; None for the whole. Raise RangeNotSatisfiable."""
    match = _ONE.fullmatch(header or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, total - int(suffix)), total
    else:
        start, end = int(first), min(total, int(last) + 1 if last else total)
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(total)
    return start, end
