# pyright: basic
# PyAV's types say little.
"""Converts the audio of a live session, at any rate and in pieces of any size, to the models' samples."""

import av
import numpy as np
from av.audio.resampler import AudioResampler

from tutti.workers.transcribe.samples import RATE_HZ, Samples


class Inlet:
    """The decoder and resampler of one stream of 16-bit samples."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._half = b""  # the first byte of a sample whose second byte has not arrived yet
        self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ)

    def read(self, data: bytes) -> Samples:
        """Return the samples in `data`, which is 16-bit little-endian mono (s16le), at RATE_HZ."""
        data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2")
        if self._rate_hz == RATE_HZ:
            return samples.astype(np.float32) / np.float32(32768)
        return self._resampled(samples) if len(samples) else np.empty(0, np.float32)

    def _resampled(self, samples: np.ndarray) -> Samples:
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        blocks = [block.to_ndarray()[0] for block in self._resampler.resample(frame)]
        return np.concatenate(blocks) if blocks else np.empty(0, np.float32)
