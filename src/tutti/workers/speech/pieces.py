# pyright: basic
# hibari comes without types.
"""Cuts text into pieces that are synthesised one by one: sentences, and parts of very long sentences."""

import re
from collections.abc import Iterator, Sequence

from hibari import Hibari

from tutti.workers.http import Refused

MOST_CHARACTERS = 200
"""About 14 seconds of speech.

So progress is seen and a cancellation takes effect soon, even with a slow model.
"""

_FIRST_CHARACTERS = 80
"""A longer first sentence is cut after its first clause that has at least a third of this length."""

_CLAUSE = re.compile(r"[,;:—]\s")


def pronounced(text: str, rules: Sequence[str]) -> str:
    """Apply "source/replacement" rules to whole words, whatever their case. Raises Refused for a bad rule."""
    replacements = dict(map(_rule, rules))
    if not replacements:
        return text
    longest_first = sorted(replacements, key=len, reverse=True)
    words = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
    return words.sub(lambda match: replacements.get(match[0].lower(), match[0]), text)


def _rule(rule: str) -> tuple[str, str]:
    source, slash, replacement = rule.partition("/")
    if not (source.strip() and slash and replacement.strip()):
        message = f"pronunciation_dict: {rule[:100]!r} is not of the form source/replacement."
        raise Refused(message, "extra_params")
    return source.strip().lower(), replacement.strip()


def pieces(text: str) -> Iterator[str]:
    """Yield the pieces of a text. The first is short, so that it is heard soon."""
    first = True
    for sentence in Hibari.split_sentences(text):
        rest = " ".join(sentence.split())
        while rest:
            end = _end(rest, first)
            yield rest[:end].rstrip()
            rest, first = rest[end:].lstrip(), False


def _end(text: str, first: bool) -> int:
    if first and len(text) > _FIRST_CHARACTERS and (clause := _CLAUSE.search(text, _FIRST_CHARACTERS // 3)):
        return min(clause.end(), _long_end(text))
    return _long_end(text)


def _long_end(text: str) -> int:
    """Return where to cut: after a clause, or else a word, but not in the first quarter of the limit."""
    if len(text) <= MOST_CHARACTERS:
        return len(text)
    head = text[:MOST_CHARACTERS]
    clause = max((match.end() for match in _CLAUSE.finditer(head)), default=0)
    return next((end for end in (clause, head.rfind(" ")) if end > MOST_CHARACTERS // 4), MOST_CHARACTERS)
