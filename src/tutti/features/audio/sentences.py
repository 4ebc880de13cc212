"""Cuts sentences off a text that is still being written."""

import re
import unicodedata
from collections.abc import Sequence

_END = re.compile(r"[.!?…]+[\"')\]»”’]*(?=\s|$)|[。！？]+|\n+")
_SHORTENED = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|fig|jr|sr|inc|approx|[a-z])\.$", re.IGNORECASE
)
_NUMBER = re.compile(r"\d\.$")


def cut(text: str, most: int) -> tuple[list[str], str]:
    """Return the sentences that seem to be whole, and the rest of the text, at most `most` characters."""
    whole: list[str] = []
    while end := _end(text):
        whole.append(text[:end])
        text = text[end:]
    while len(text) > most:
        at = _last_space(text, most)
        whole.append(text[:at])
        text = text[at:]
    return [sentence.strip() for sentence in whole if sentence.strip()], text


def sayable(sentence: str, pronunciation: Sequence[str]) -> bool:
    """Return True if there is something to speak in a sentence.

    That is a letter, a digit or a sign with a name (dots and dashes have none), or the source of a rule
    "source/replacement" of `pronunciation`.
    """
    sources = (rule.partition("/")[0].strip() for rule in pronunciation)
    return any(map(_has_name, sentence)) or any(source in sentence for source in sources)


def _has_name(c: str) -> bool:
    return c.isalnum() or c in "$%&@" or (not c.isascii() and unicodedata.category(c)[0] == "S")


def _end(text: str) -> int:
    """Return the position of the first end of a sentence; 0 if there is none.

    A dot after an abbreviation, or after a number at the end of the text, does not end a sentence.
    """
    for match in _END.finditer(text):
        before = text[: match.end()].rstrip("\"')]»”’")
        may_go_on = match.end() == len(text) and _NUMBER.search(before)
        if not may_go_on and not _SHORTENED.search(before):
            return match.end()
    return 0


def _last_space(text: str, most: int) -> int:
    """Return the position after the last space among the first `most` characters, or else `most`."""
    return text.rfind(" ", 0, most) + 1 or most
