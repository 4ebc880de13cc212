"""Mixes the channels of a recording to mono, so that speech on any of them stays audible."""

import numpy as np

from tutti.workers.transcribe.samples import Samples

_INVERTED = -0.5
"""Below this correlation a channel has the opposite polarity of the reference, and both would cancel out."""
_AUDIBLE = 0.25
"""The share of the loudest channel's power that a channel needs to be the reference."""


def mixed(channels: Samples) -> Samples:
    """Return the mean of the channels (rows), each in the polarity of the first audible channel."""
    if len(channels) == 1:
        return channels[0]
    sound = channels - channels.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", sound, sound)
    reference = int((power >= _AUDIBLE * power.max()).argmax())
    correlation = sound @ sound[reference] / np.maximum(np.sqrt(power * power[reference]), 1e-12)
    return np.asarray(np.where(correlation < _INVERTED, -1, 1) @ channels / len(channels), np.float32)
