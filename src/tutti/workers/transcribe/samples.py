"""Audio samples as the models take them: mono, 16 kHz, 32-bit floats from -1 to 1.

Positions count samples.
"""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000

Samples = NDArray[np.float32]


def seconds(position: int) -> float:
    return round(position / RATE_HZ, 3)


def position(seconds: float) -> int:
    return round(seconds * RATE_HZ)


class Tape:
    """The part of a stream that is still needed: from position `start` of the stream to position `end`."""

    def __init__(self) -> None:
        self.start = 0
        self._blocks: list[Samples] = []
        self.end = 0

    def append(self, block: Samples) -> None:
        self._blocks.append(block)
        self.end += len(block)

    def forget(self, before: int) -> None:
        """Free the blocks that lie entirely before the position."""
        while self._blocks and self.start + len(self._blocks[0]) <= before:
            self.start += len(self._blocks.pop(0))

    def between(self, start: int, end: int) -> Samples:
        """Return the samples between two positions of the stream, as far as they are still there."""
        whole = np.concatenate([np.empty(0, np.float32), *self._blocks])
        return whole[max(start - self.start, 0) : max(end - self.start, 0)]
