"""The interface of a speech model: its voices turn text into samples."""

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

from tutti.workers.http import Refused

Samples = np.ndarray[Any, np.dtype[np.float32]]


class Voice(Protocol):
    """A voice of a model."""

    def prepared(self, text: str) -> str:
        """Normalise a whole text, before it is cut into pieces for `read`.

        Raises Refused for unsayable text.
        """
        ...

    def read(self, text: str, speed: float) -> Generator[Samples]:
        """Yield the samples of a piece of text as they are made, or none if nothing in it can be said.

        It is called from several threads. Raises Refused before the first samples.
        """
        ...


class SpeechModel(Protocol):
    """A model with voices. `at_once` is the number of threads that may synthesise at the same time."""

    @property
    def rate_hz(self) -> int: ...

    @property
    def at_once(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the voices, the default first."""
        ...

    def voice(self, name: str) -> Voice:
        """Return the voice of that name. Raises Refused if there is none."""
        ...


def unknown_voice(name: str, names: tuple[str, ...]) -> Refused:
    return Refused(f"There is no voice {name[:100]!r}; this model has: {', '.join(names)}.", "voice")
