"""Several channels as one, in which whatever is said on any of them is heard."""

import numpy as np

from tutti.workers.transcribe.samples import Samples

_TURNED = -0.5
"""Channels that are less alike than this would cancel out: one is the other turned round."""
_AUDIBLE = 0.25


def mixed(channels: Samples) -> Samples:
    """The mean of the channels (rows), each turned as the first that can be heard is."""
    if len(channels) == 1:
        return channels[0]
    sound = channels - channels.mean(axis=1, keepdims=True)
    power = np.einsum("ij,ij->i", sound, sound)
    first = int((power >= _AUDIBLE * power.max()).argmax())
    alike = sound @ sound[first] / np.maximum(np.sqrt(power * power[first]), 1e-12)
    return np.asarray(np.where(alike < _TURNED, -1, 1) @ channels / len(channels), np.float32)
