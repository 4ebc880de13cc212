# pyright: basic
# onnxruntime comes without types.
"""SNAC at 24 kHz: a sound as frames of seven codes, and its decoder as ONNX.

A frame is one code of the coarse layer, two of the middle one and four of the fine one. A language model says
them in the order of time: coarse, middle, fine, fine, middle, fine, fine. Each place has numbers of its own:
a code that was left out or said twice spoils its frame only.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

import numpy as np

from tutti.workers import onnx
from tutti.workers.speech.model import Samples

Frame = tuple[int, ...]

RATE_HZ = 24_000
FRAME_SAMPLES = 2048
CODES = 4096
"""Different ones in each place of a frame."""

_LAYERS = ((0,), (1, 4), (2, 3, 5, 6))
PLACES = 7
_WINDOW = 4
"""Frames that are decoded at once. One before and two after are enough for a frame to sound as it does among
all the others."""


class SnacDecoder:
    """The graph's inputs are the layers (audio_codes.0, .1 and .2), its output samples."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = onnx.session(path, threads)
        self._names = sorted(given.name for given in self._session.get_inputs())

    def decode(self, frames: Sequence[Frame]) -> Samples:
        """2048 samples a frame. May be called from several threads."""
        given = dict(zip(self._names, layers(frames), strict=True))
        return np.asarray(self._session.run(None, given)[0], np.float32).reshape(-1)


def frames(numbers: Iterable[int]) -> Generator[Frame]:
    """Of numbers that say a code and its place: place * 4096 + code. What is no whole frame is left out."""
    codes: list[int] = []
    for number in numbers:
        place, code = divmod(number, CODES)
        if place != len(codes):
            codes.clear()
        if place == len(codes):
            codes.append(code)
        if len(codes) == PLACES:
            yield tuple(codes)
            codes.clear()


def layers(frames: Sequence[Frame]) -> list[np.ndarray]:
    table = np.array(frames, np.int64)
    return [table[:, places].reshape(1, -1) for places in _LAYERS]


def streamed(frames: Iterable[Frame], decode: Callable[[Sequence[Frame]], Samples]) -> Generator[Samples]:
    """The sound of all the frames, each as soon as two more are known."""
    window, sound = deque[Frame](maxlen=_WINDOW), None
    for frame in frames:
        window.append(frame)
        if len(window) == _WINDOW:
            begin = 0 if sound is None else FRAME_SAMPLES
            sound = decode(window)
            yield sound[begin : 2 * FRAME_SAMPLES]
    if sound is not None:
        yield sound[2 * FRAME_SAMPLES :]
    elif window:
        yield decode(window)
