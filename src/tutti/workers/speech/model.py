"""What speaks: a model with voices, which are given phonemes and give samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tutti.workers.http import Refused

Samples = np.ndarray[Any, np.dtype[np.float32]]

MOST_PHONEMES = 400
"""Of one piece. Kokoro takes 510; longer ones are spoken no better and only come later."""


@dataclass(frozen=True)
class Voice:
    """`say` takes phonemes of misaki's English alphabet and the speed; it is called from several threads.
    `british`: it wants to be given British pronunciation."""

    say: Callable[[str, float], Samples]
    british: bool


class SpeechModel(Protocol):
    """`at_once`: how many threads may speak at the same time."""

    @property
    def rate_hz(self) -> int: ...

    @property
    def at_once(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the voices, the default first."""
        ...

    def voice(self, name: str) -> Voice:
        """Raises Refused."""
        ...


def unknown_voice(name: str, names: tuple[str, ...]) -> Refused:
    return Refused(f"There is no voice {name[:100]!r}; this model has: {', '.join(names)}.", "voice")
