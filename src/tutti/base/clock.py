"""Time. Wall-clock seconds go into rows and bodies; monotonic seconds measure durations."""

import time


def now_s() -> int:
    """Return Unix seconds, as `created` in the API."""
    return int(time.time())


def now() -> float:
    """Return Unix seconds with a fraction, as stored in rows."""
    return time.time()


def monotonic_s() -> float:
    return time.monotonic()
