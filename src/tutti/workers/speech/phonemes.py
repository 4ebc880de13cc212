# pyright: basic
# hibari comes without types.
"""English text as phonemes of misaki's alphabet, which Kokoro and hibari were trained on."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property

from hibari.g2p import G2P

from tutti.workers.http import Refused
from tutti.workers.speech.model import Samples

MOST_PHONEMES = 400
"""Of one piece. Kokoro takes 510; longer ones are spoken no better and only come later."""


class Phonemes:
    """Each variety of English loads when it is first wanted, in 0.3 s."""

    def of(self, text: str, *, british: bool) -> Iterator[str]:
        """Parts that a model takes at once; nothing where the text has nothing to say."""
        rest = _read(self._british if british else self._american, text)
        while any(map(str.isalpha, rest)):
            end = _end(rest)
            yield rest[:end].strip()
            rest = rest[end:]

    @cached_property
    def _american(self) -> G2P:
        return G2P()

    @cached_property
    def _british(self) -> G2P:
        return G2P(british=True)


@dataclass(frozen=True)
class PhonemeVoice:
    """`say` takes phonemes of misaki's English alphabet and the speed; it is called from several threads.
    `british`: it wants to be given British pronunciation."""

    phonemes: Phonemes
    say: Callable[[str, float], Samples]
    british: bool

    def read(self, text: str, speed: float) -> Generator[Samples]:
        for part in self.phonemes.of(text, british=self.british):
            yield self.say(part, speed)


def check_language(language: str) -> None:
    """Raises Refused. A region changes nothing: each voice has its own, and is bad at any other."""
    if language.lower().replace("_", "-").partition("-")[0] != "en":
        raise Refused(f"This model speaks English only, not {language[:20]!r}.", "language")


def _read(g2p: G2P, text: str) -> str:
    """What the package fails on (a number of 40 digits, a dotted capital I) is spelled, and what it fails on
    then is left out."""
    try:
        return g2p(text)
    except Exception:  # whatever it may be: one strange word is no reason to say nothing
        words = text.split()
        smaller = words if len(words) > 1 else list(text) if len(text) > 1 else []
        return " ".join(_read(g2p, part) for part in smaller)


def _end(phonemes: str) -> int:
    if len(phonemes) <= MOST_PHONEMES:
        return len(phonemes)
    space = phonemes.rfind(" ", 0, MOST_PHONEMES)
    return space if space > 0 else MOST_PHONEMES
