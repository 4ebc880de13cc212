"""The completion window: the longest time that a batch may take."""

import re

from tutti.base.errors import InvalidRequest

DEFAULT = "24h"
_LONGEST_S = 30 * 86_400
_WINDOW = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def window_s(text: str) -> int:
    """Return the seconds in `24h`, `30m`, `3d` and the like. Raise InvalidRequest for another text."""
    match = _WINDOW.fullmatch(text)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidRequest(
            "completion_window must be a number of seconds, minutes, hours or days: 24h, 90m, at most 30d.",
            param="completion_window",
        )
    return seconds
