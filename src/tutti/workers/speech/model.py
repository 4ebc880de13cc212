"""What speaks: a model with voices, which are given text and give samples."""

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

from tutti.workers.http import Refused

Samples = np.ndarray[Any, np.dtype[np.float32]]


class Voice(Protocol):
    def prepared(self, text: str) -> str:
        """A whole text as it is to be cut into pieces for `read`. Raises Refused for what can't be said."""
        ...

    def read(self, text: str, speed: float) -> Generator[Samples]:
        """The sound of a piece of text as it is made: none where nothing can be said. Called from several
        threads. Raises Refused before the first samples."""
        ...


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
