"""One minute of one key: the counts, whether a limit is reached, and the headers that report them."""

from dataclasses import dataclass

from tutti.access.caller import Caller
from tutti.base.errors import RateLimited


class LimitReached(RateLimited):
    """A refusal that also carries the `x-ratelimit-*` headers."""

    def __init__(self, message: str, limits: dict[str, str], retry_after_s: float) -> None:
        super().__init__(message, code="rate_limit_exceeded", retry_after_s=retry_after_s)
        self._limits = limits

    def headers(self) -> dict[str, str]:
        return {**super().headers(), **self._limits}


@dataclass
class Window:
    """One key's minute: the sum of all workers as of the last flush, and the new counts of this worker
    since."""

    minute: int
    requests: int = 0
    tokens: int = 0
    new_requests: int = 0
    new_tokens: int = 0
    asked: bool = False
    """True if it was read since the last flush: the next flush fetches the sum."""
    stale: bool = True
    """True if it was not read since the last flush: the sum is old."""


def is_active(window: Window) -> bool:
    """Return True if the next flush has to share or fetch the window's counts."""
    return window.asked or bool(window.new_requests or window.new_tokens)


def limit_reached(caller: Caller, window: Window) -> str | None:
    """Return the sentence that names the limit; None where the key has requests and tokens left."""
    if 0 < caller.requests_per_minute <= window.requests + window.new_requests:
        return f"The limit of {caller.requests_per_minute} requests a minute is reached."
    if 0 < caller.tokens_per_minute <= window.tokens + window.new_tokens:
        return f"The limit of {caller.tokens_per_minute} tokens a minute is reached."
    return None


def headers_of(caller: Caller, window: Window, reset_s: int) -> dict[str, str]:
    """Return the headers that say how much is left of each limit that the key has."""
    headers = {"x-ratelimit-reset": str(reset_s)}
    if caller.requests_per_minute:
        left = max(0, caller.requests_per_minute - window.requests - window.new_requests)
        headers["x-ratelimit-limit"] = str(caller.requests_per_minute)
        headers["x-ratelimit-remaining"] = str(left)
    if caller.tokens_per_minute:
        left = max(0, caller.tokens_per_minute - window.tokens - window.new_tokens)
        headers["x-ratelimit-limit-tokens"] = str(caller.tokens_per_minute)
        headers["x-ratelimit-remaining-tokens"] = str(left)
    return headers
