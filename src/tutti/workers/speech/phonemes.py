# pyright: basic
# hibari comes without types.
"""Converts English text to phonemes (G2P) in misaki's alphabet, which Kokoro and hibari were trained on."""

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
"""The most phonemes of one piece. Kokoro takes 510, but longer pieces sound no better and come later."""


class Phonemes:
    """The readers of American and British English. Each loads when it is first used, in 0.3 s."""

    def of(self, text: str, *, british: bool) -> Iterator[str]:
        """Yield the phonemes of a text, in parts that a model takes at once. Some texts have none."""
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
    """A voice of a model that takes phonemes.

    `say` takes phonemes and the speed, and is called from several threads. `british` asks for British
    pronunciation.
    """

    phonemes: Phonemes
    say: Callable[[str, float], Samples]
    british: bool

    def prepared(self, text: str) -> str:
        return unmarked(plain(text))

    def read(self, text: str, speed: float) -> Generator[Samples]:
        for part in self.phonemes.of(text, british=self.british):
            yield self.say(part, speed)


class _Reader:
    """Converts text to phonemes.

    Words for which the package has none, or on which it fails, are spelled out.
    """

    def __init__(self, g2p: G2P) -> None:
        self._g2p = g2p
        self._known = frozenset(g2p.oov.cin)

    def read(self, text: str) -> str:
        """Return the phonemes of a prepared text. Raises Refused."""
        return self._phonemes(words(text, self._known))

    def _phonemes(self, text: str) -> str:
        try:
            tokens = self._g2p.phonemize_tokens(self._g2p.tokenize(text))
        except Exception as error:  # whatever it is: one odd word must not silence the whole text
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
    """Raise Refused unless the language is English.

    A region changes nothing: each voice has its own accent.
    """
    if language(code) != "en":
        raise Refused(f"This model speaks English only (en), not {code[:20]!r}.", "language")


def _unreadable(text: str) -> Refused:
    return Refused(f"This model can't say {text[:20]!r}.", "input")


def _end(phonemes: str) -> int:
    if len(phonemes) <= MOST_PHONEMES:
        return len(phonemes)
    space = phonemes.rfind(" ", 0, MOST_PHONEMES)
    return space if space > 0 else MOST_PHONEMES
