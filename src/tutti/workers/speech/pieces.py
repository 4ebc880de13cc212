# pyright: basic
# hibari comes without types.
"""Text in pieces that are spoken one by one: sentences, and parts of very long ones."""

import re
from collections.abc import Iterator, Sequence

from hibari import Hibari

from tutti.workers.http import Refused

MOST_CHARACTERS = 200
"""About 14 seconds of speech: with a slow model, too, progress shows and leaving is noticed soon."""

_FIRST_CHARACTERS = 80
"""A first sentence that is longer ends after its first clause of a third of this."""

_CLAUSE = re.compile(r"[,;:—]\s")


def pronounced(text: str, rules: Sequence[str]) -> str:
    """Applies "source/replacement" rules to whole words, whatever their case. Raises Refused."""
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
    """The first is a short one, so that it can soon be heard."""
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
    """After a clause, or else a word, not too near the beginning."""
    if len(text) <= MOST_CHARACTERS:
        return len(text)
    head = text[:MOST_CHARACTERS]
    clause = max((match.end() for match in _CLAUSE.finditer(head)), default=0)
    return next((end for end in (clause, head.rfind(" ")) if end > MOST_CHARACTERS // 4), MOST_CHARACTERS)
