# pyright: basic
# onnxruntime comes without types.
"""The SNAC audio codec at 24 kHz ("SNAC: Multi-Scale Neural Audio Codec"), with its decoder as ONNX.

A frame has seven codes: one of the coarse layer, two of the middle and four of the fine one. A language model
generates them in the order of time: coarse, middle, fine, fine, middle, fine, fine. Each place in a frame has
token ids of its own, so a code that is missing or repeated spoils only its frame.
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
"""The size of the codebook: how many different codes a place of a frame may have."""

_LAYERS = ((0,), (1, 4), (2, 3, 5, 6))
PLACES = 7
_WINDOW = 4
"""Frames that are decoded at once. With one frame before it and two after it, a frame sounds the same as in a
decoding of all frames."""


class SnacDecoder:
    """The decoder. The graph's inputs are the layers (audio_codes.0, .1 and .2); its output is samples."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = onnx.session(path, threads)
        self._names = sorted(given.name for given in self._session.get_inputs())

    def decode(self, frames: Sequence[Frame]) -> Samples:
        """Return the samples, 2048 a frame. May be called from several threads."""
        given = dict(zip(self._names, layers(frames), strict=True))
        return np.asarray(self._session.run(None, given)[0], np.float32).reshape(-1)


def frames(numbers: Iterable[int]) -> Generator[Frame]:
    """Yield the frames in a sequence of numbers, each place * 4096 + code. Incomplete frames are left out."""
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
    """Return the codes of the frames by layer, as the decoder takes them."""
    table = np.array(frames, np.int64)
    return [table[:, places].reshape(1, -1) for places in _LAYERS]


def streamed(frames: Iterable[Frame], decode: Callable[[Sequence[Frame]], Samples]) -> Generator[Samples]:
    """Yield the samples of all frames, each frame's as soon as the two that follow it are known."""
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
