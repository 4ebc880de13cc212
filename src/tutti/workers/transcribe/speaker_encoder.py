"""Speaker embeddings: vectors with a high cosine similarity if the same person speaks.

Resemblyzer's encoder in numpy: GE2E ("Generalized End-to-End Loss for Speaker Verification"), three LSTM
layers over 1.6 s of a mel spectrogram. The weights are the pickle in its package, of which only the tensors
are read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutti.workers.transcribe.samples import RATE_HZ, Samples
from tutti.workers.transcribe.torchfile import read_torch

WEIGHTS_FILE = "voices.ge2e"

_WINDOW = 400  # samples in a frame of the spectrogram: 25 ms
HOP = 160  # samples from one frame to the next: 10 ms
FRAMES = 160  # frames in a window of speech: 1.6 s
_MELS = 40
_LAYERS = 3
_LOUDNESS = 10 ** (-30 / 20)  # the RMS level of the training data: -30 dBFS
_BATCH = 32

Array = NDArray[np.float32]


class SpeakerEncoder:
    """The encoder that computes speaker embeddings."""

    def __init__(self, folder: Path) -> None:
        state: Mapping[str, Any] = read_torch(folder / WEIGHTS_FILE)["model_state"]
        self._layers = [_layer(state, index) for index in range(_LAYERS)]
        self._linear: Array = state["linear.weight"].T.copy()
        self._bias: Array = state["linear.bias"]
        self._mels = _filters()

    def spectrogram(self, samples: Samples) -> Array:
        """Return the mel spectrogram: a row of 40 bands for each hop of 10 ms.

        Quiet speech is amplified to the level of the training data.
        """
        loudness = float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0
        if 0 < loudness < _LOUDNESS:
            samples = samples * np.float32(_LOUDNESS / loudness)
        padded = np.pad(samples, _WINDOW // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(frames * _HANN)) ** 2
        return (power @ self._mels).astype(np.float32)

    def vectors(self, windows: Sequence[Array]) -> Array:
        """Return a unit vector (row) for each window of FRAMES rows of a spectrogram."""
        rows = [self._run(np.stack(windows[i : i + _BATCH])) for i in range(0, len(windows), _BATCH)]
        return np.concatenate([np.empty((0, len(self._bias)), np.float32), *rows])

    def _run(self, batch: Array) -> Array:
        steps = batch.transpose(1, 0, 2)
        for layer in self._layers:
            steps = _lstm(layer, steps)
        found = np.maximum(steps[-1] @ self._linear + self._bias, 0)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, 1e-9), np.float32)


# --- the network -------------------------------------------------------------------------------------------


def _layer(state: Mapping[str, Any], index: int) -> tuple[Array, Array, Array]:
    names = [f"lstm.{name}_l{index}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    inputs, hidden, bias, more = (state[name] for name in names)
    return inputs.T.copy(), hidden.T.copy(), bias + more


def _lstm(layer: tuple[Array, Array, Array], steps: Array) -> Array:
    """Return an LSTM layer's outputs at every step.

    The gates are in torch's order: input, forget, cell, output.
    """
    inputs, hidden, bias = layer
    size = hidden.shape[0]
    given = steps @ inputs + bias
    h = c = np.zeros((steps.shape[1], size), np.float32)
    out = np.empty((*steps.shape[:2], size), np.float32)
    for step, sums in enumerate(given):
        gates = sums + h @ hidden
        cell = np.tanh(gates[:, 2 * size : 3 * size])
        c = _sigmoid(gates[:, size : 2 * size]) * c + _sigmoid(gates[:, :size]) * cell
        h = _sigmoid(gates[:, 3 * size :]) * np.tanh(c)
        out[step] = h
    return out


def _sigmoid(x: Array) -> Array:
    return np.asarray((np.tanh(x / 2) + 1) / 2, np.float32)


# --- the spectrogram, as librosa computes it, with Slaney's mel scale -------------------------------------

_HANN = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
_LINEAR_TO_HZ = 1000.0  # the scale is linear up to here, logarithmic above
_MELS_TO_THERE = 15.0
_STEP = np.log(6.4) / 27


def _filters() -> Array:
    """Return the mel filterbank: triangular filters of equal area, a column for each band."""
    edges = _hz(np.linspace(0, _mel(RATE_HZ / 2), _MELS + 2))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hz = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)
    weights = np.maximum(0, np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)))
    return (weights * 2 / (high - low)).T.astype(np.float32)


def _mel(hz: float) -> float:
    return _MELS_TO_THERE + float(np.log(hz / _LINEAR_TO_HZ)) / _STEP


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * _LINEAR_TO_HZ / _MELS_TO_THERE
    logarithmic = _LINEAR_TO_HZ * np.exp(_STEP * (mel - _MELS_TO_THERE))
    return np.where(mel < _MELS_TO_THERE, linear, logarithmic)
