"""A clock that tests set."""

from dataclasses import dataclass


@dataclass
class Clock:
    """A clock that stands still unless it is moved: nothing ages while the machine is busy, and no minute
    ends."""

    seconds: float = 29_000_000 * 60 + 20

    def __call__(self) -> float:
        return self.seconds
