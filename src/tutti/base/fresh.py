"""A value that every request reads, and that is looked up about once a second."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from tutti.base.clock import monotonic_s

_T = TypeVar("_T")


class Fresh(Generic[_T]):
    """The result of `look`, never older than `fresh_s`.

    All callers share one look, which goes on if one of them leaves. A call in the second half of `fresh_s`
    begins the next look but does not wait for it: steady requests never wait.
    """

    def __init__(
        self, look: Callable[[], Awaitable[_T]], fresh_s: float, clock: Callable[[], float] = monotonic_s
    ) -> None:
        self._look = look
        self._clock = clock
        self._fresh_s = fresh_s
        self._found_at = float("-inf")
        self._found: _T | None = None
        self._looking: asyncio.Task[_T] | None = None

    async def get(self) -> _T:
        """Return the result of the last look, or of a new one. Raises what `look` raises, if nothing is
        fresh; the next call then looks again."""
        age_s = self._clock() - self._found_at
        if age_s < self._fresh_s / 2:
            return cast(_T, self._found)
        looking = self._looking or self._begin()
        return cast(_T, self._found) if age_s < self._fresh_s else await asyncio.shield(looking)

    def forget(self) -> None:
        """Discard the result, and that of a look that has begun already: both are out of date."""
        self._found_at = float("-inf")
        self._looking = None

    def _begin(self) -> "asyncio.Task[_T]":
        self._looking = asyncio.create_task(self._look_again(self._clock()))
        self._looking.add_done_callback(_note_error)
        return self._looking

    async def _look_again(self, began_s: float) -> _T:
        this = asyncio.current_task()
        try:
            found = await self._look()
            if self._looking is this:
                self._found, self._found_at = found, began_s
            return found
        finally:
            if self._looking is this:
                self._looking = None


def _note_error(look: "asyncio.Task[_T]") -> None:
    """Retrieve the error of a look, so that asyncio does not complain if nobody waits; those who wait raise
    it."""
    if not look.cancelled():
        look.exception()
