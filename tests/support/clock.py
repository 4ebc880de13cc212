"""A clock for what is tested."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Stands still unless told otherwise: nothing grows old while the machine is busy, and no minute ends."""

    seconds: float = 29_000_000 * 60 + 20

    def __call__(self) -> float:
        return self.seconds
