# pyright: basic
# hibari comes without types.
"""hibari: each voice is a model of 8 MB.

The package contains `heart`; other voices are files in the folder.
"""

from functools import partial
from pathlib import Path

from hibari import SAMPLE_RATE, Hibari
from hibari.voices import VOICES, voice_path

from tutti.workers.speech.model import Samples, unknown_voice
from tutti.workers.speech.phonemes import Phonemes, PhonemeVoice


class HibariModel:
    rate_hz = SAMPLE_RATE

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the voices.

        Each sentence gets one thread, and sentences run in parallel: the network is too small to gain from
        several threads.
        """
        self.at_once = threads
        phonemes = Phonemes()
        self._voices = {name: _voice(phonemes, name, path) for name, path in _paths(folder).items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._voices)

    def voice(self, name: str) -> PhonemeVoice:
        if name not in self._voices:
            raise unknown_voice(name, self.names)
        return self._voices[name]


def _paths(folder: Path) -> dict[str, str]:
    paths = {
        name: voice_path(name) if about.get("bundled") else str(folder / about["file"])
        for name, about in VOICES.items()
    }
    return {name: path for name, path in paths.items() if Path(path).is_file()}


def _voice(phonemes: Phonemes, name: str, path: str) -> PhonemeVoice:
    return PhonemeVoice(phonemes, partial(_say, Hibari(name, model=path)), british=VOICES[name]["british"])


def _say(model: Hibari, phonemes: str, speed: float) -> Samples:
    """Synthesise the phonemes. The noise has a fixed seed, so the same phonemes always sound the same."""
    return model.from_phonemes(phonemes, speed, seed=0)
