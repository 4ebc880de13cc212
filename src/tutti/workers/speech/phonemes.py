# pyright: basic
# hibari comes without types.
"""English text as phonemes of misaki's alphabet, which Kokoro and hibari were trained on."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hibari.g2p import G2P

from tutti.base.languages import language
from tutti.workers.http import Refused
from tutti.workers.speech.characters import plain
from tutti.workers.speech.markup import unmarked
from tutti.workers.speech.model import Samples
from tutti.workers.speech.words import words

MOST_PHONEMES = 400
"""Of one piece. Kokoro takes 510; longer ones are spoken no better and only come later."""


class Phonemes:
    """Each variety of English loads when it is first wanted, in 0.3 s."""

    def of(self, text: str, *, british: bool) -> Iterator[str]:
        """Parts that a model takes at once; nothing where the text has nothing to say."""
        reader = self._british if british else self._american
        rest = reader.read(text)
        while any(map(str.isalpha, rest)):
            end = _end(rest)
            yield rest[:end].strip()
            rest = rest[end:]

    @cached_property
    def _american(self) -> "_Reader":
        return _Reader(G2P())

    @cached_property
    def _british(self) -> "_Reader":
        return _Reader(G2P(british=True))


@dataclass(frozen=True)
class PhonemeVoice:
    """`say` takes phonemes of misaki's English alphabet and the speed; it is called from several threads.
    `british`: it wants to be given British pronunciation."""

    phonemes: Phonemes
    say: Callable[[str, float], Samples]
    british: bool

    def prepared(self, text: str) -> str:
        return unmarked(plain(text))

    def read(self, text: str, speed: float) -> Generator[Samples]:
        for part in self.phonemes.of(text, british=self.british):
            yield self.say(part, speed)


class _Reader:
    """Reads every word: one that the package has no phonemes for, or fails on, is spelled."""

    def __init__(self, g2p: G2P) -> None:
        self._g2p = g2p
        self._known = frozenset(g2p.oov.cin)

    def read(self, text: str) -> str:
        """The phonemes of a prepared text. Raises Refused."""
        return self._phonemes(words(text, self._known))

    def _phonemes(self, text: str) -> str:
        try:
            tokens = self._g2p.phonemize_tokens(self._g2p.tokenize(text))
        except Exception as error:  # whatever it may be: one strange word is no reason to say nothing
            return self._in_parts(text, error)
        return "".join(self._token(token) + (" " if token.whitespace else "") for token in tokens).strip()

    def _token(self, token: Any) -> str:
        letters = [c for c in token.text if c.isalpha()]
        if not letters or any(map(str.isalpha, token.phonemes or "")):
            return token.phonemes or ""
        if len(letters) == 1:
            raise _unreadable(token.text)
        return " ".join(map(self._phonemes, letters))

    def _in_parts(self, text: str, error: Exception) -> str:
        parts = text.split() if " " in text else [c for c in text if c.isalpha()]
        if len(parts) < 2:
            raise _unreadable(text) from error
        return " ".join(map(self._phonemes, parts))


def check_language(code: str) -> None:
    """Raises Refused. A region changes nothing: each voice has its own, and is bad at any other."""
    if language(code) != "en":
        raise Refused(f"This model speaks English only (en), not {code[:20]!r}.", "language")


def _unreadable(text: str) -> Refused:
    return Refused(f"This model can't say {text[:20]!r}.", "input")


def _end(phonemes: str) -> int:
    if len(phonemes) <= MOST_PHONEMES:
        return len(phonemes)
    space = phonemes.rfind(" ", 0, MOST_PHONEMES)
    return space if space > 0 else MOST_PHONEMES
