# pyright: basic
# onnxruntime and hibari come without types.
"""Kokoro-82M as ONNX: one network, and a table of style vectors for each voice, one for each phoneme count.

The folder has one .onnx file, and voices as NAME.npy or NAME.f32 (raw float32). Voices are mixed by averaging
their tables.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import hibari.tts
import numpy as np

from tutti.workers import onnx
from tutti.workers.http import Refused
from tutti.workers.speech.model import Samples, unknown_voice
from tutti.workers.speech.phonemes import Phonemes, PhonemeVoice

Styles = np.ndarray[Any, np.dtype[np.float32]]
"""The style vectors of a voice: a row for each number of phonemes."""

_STYLE_WIDTH = 256
_MOST_MIXED = 16
_TERM = re.compile(r"\s*(?P<name>\w+)\s*(\(\s*(?P<weight>\d{1,9}(\.\d{0,9})?)\s*\))?\s*", re.ASCII)


class KokoroModel:
    rate_hz = 24_000
    at_once = 1

    def __init__(self, folder: Path, threads: int) -> None:
        self._phonemes = Phonemes()
        self._session = onnx.session(next(folder.glob("*.onnx")), threads)
        self._tokens, self._style, self._speed = (given.name for given in self._session.get_inputs())
        self._ids: dict[str, int] = json.loads((Path(hibari.tts.ASSETS) / "vocab.json").read_text("utf-8"))
        self._styles = {
            path.stem: _styles(path) for path in sorted(folder.iterdir()) if path.suffix in (".npy", ".f32")
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._styles)

    def voice(self, name: str) -> PhonemeVoice:
        """Return the voice, or the mix of voices, of that name. Raises Refused.

        It is British if the name begins with b, as Kokoro's names do: bf_emma, bm_george.
        """
        terms = mixed(name)
        for term in terms:
            if term not in self._styles:
                raise unknown_voice(term, self.names)
        total = sum(terms.values())
        styles = np.sum([self._styles[term] * (weight / total) for term, weight in terms.items()], axis=0)
        british = all(term.startswith("b") for term in terms)
        return PhonemeVoice(self._phonemes, partial(self._say, styles), british)

    def _say(self, styles: Styles, phonemes: str, speed: float) -> Samples:
        ids = [self._ids[sign] for sign in phonemes if sign in self._ids]
        if not ids:
            return np.empty(0, np.float32)
        given = {
            self._tokens: np.array([[0, *ids, 0]], np.int64),
            self._style: styles[min(len(ids), len(styles)) - 1][None],
            self._speed: np.array([speed], np.float32),
        }
        return np.asarray(self._session.run(None, given)[0], np.float32).reshape(-1)


def mixed(voice: str) -> dict[str, float]:
    """Return the weight of each voice in a mix such as `af_bella(2)+af_heart(1)`; the default is 1.

    Raises Refused.
    """
    weights: dict[str, float] = {}
    terms = voice.split("+", _MOST_MIXED)
    for term in terms:
        match = _TERM.fullmatch(term)
        weight = float(match["weight"] or 1) if match else 0
        if match is None or weight == 0 or len(terms) > _MOST_MIXED:
            raise Refused(f"{voice[:100]!r} is neither a voice nor a mix such as a(2)+b(1).", "voice")
        weights[match["name"]] = weights.get(match["name"], 0) + weight
    return weights


def _styles(path: Path) -> Styles:
    """Read the style vectors of a voice. Pickled objects in a .npy file are refused."""
    numbers = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.fromfile(path, "<f4")
    return np.asarray(numbers, np.float32).reshape(-1, _STYLE_WIDTH)
