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
    """The sentences that seem to be whole, and what is left: never more than `most` characters of it."""
    whole: list[str] = []
    while end := _end(text):
        whole.append(text[:end])
        text = text[end:]
    while len(text) > most:
        at = _last_space(text, most)
        whole.append(text[:at])
        text = text[at:]
    return [one.strip() for one in whole if one.strip()], text


def sayable(sentence: str, pronunciation: Sequence[str]) -> bool:
    """Has a letter, a digit or a sign that has a name, unlike dots and dashes, or what a "source/replacement"
    gives words to."""
    sources = (rule.partition("/")[0].strip() for rule in pronunciation)
    return any(map(_has_name, sentence)) or any(source in sentence for source in sources)


def _has_name(c: str) -> bool:
    return c.isalnum() or c in "$%&@" or (not c.isascii() and unicodedata.category(c)[0] == "S")


def _end(text: str) -> int:
    """0 where no sentence ends. What could go on, after an abbreviation or a number, does not end one."""
    for match in _END.finditer(text):
        before = text[: match.end()].rstrip("\"')]»”’")
        may_go_on = match.end() == len(text) and _NUMBER.search(before)
        if not may_go_on and not _SHORTENED.search(before):
            return match.end()
    return 0


def _last_space(text: str, most: int) -> int:
    """Behind the last space among the first `most` characters, or right behind these."""
    return text.rfind(" ", 0, most) + 1 or most
