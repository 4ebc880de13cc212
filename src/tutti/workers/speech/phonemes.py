# pyright: basic
# hibari comes without types.
"""English text as phonemes of misaki's alphabet, which Kokoro and hibari were trained on."""

from collections.abc import Iterator
from functools import cached_property

from hibari.g2p import G2P

from tutti.workers.http import Refused
from tutti.workers.speech.model import MOST_PHONEMES


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
