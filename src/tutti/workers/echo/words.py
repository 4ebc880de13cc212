"""The fake engine's tokenizer: words are tokens.

A text always has the same tokens, ids and log probabilities.
"""

import re
import zlib
from array import array
from hashlib import shake_128
from math import sqrt

VOCABULARY = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet")
_TOKEN = re.compile(r"\s*\S+|\s+$")


def tokens_of(text: str) -> list[str]:
    """Split a text into words, each with the white space before it, so that they join to the text again."""
    return _TOKEN.findall(text)


def id_of(token: str) -> int:
    return zlib.crc32(token.encode()) % 50_000


def logprob_of(token: str) -> float:
    """Return the token's log probability, from -1 to 0, to three digits."""
    return -(id_of(token) % 1000) / 1000


def alternatives(token: str, count: int) -> list[tuple[str, float]]:
    """Return the `count` most likely tokens and their log probabilities, the given one first."""
    best = logprob_of(token)
    others = [(f" {word}", best - 0.5 * rank) for rank, word in enumerate(VOCABULARY, 1)]
    return [(token, best), *others][:count]


def invented(count: int, seed: int) -> str:
    """Return `count` words that depend on the seed."""
    digest = shake_128(str(seed).encode()).digest(count)
    return " ".join(VOCABULARY[byte % len(VOCABULARY)] for byte in digest)


def vector_of(text: str, dimensions: int) -> "array[float]":
    """Return an embedding: a unit vector of float32. Texts that share words have similar ones."""
    total = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [text]:
        for index, byte in enumerate(shake_128(word.encode()).digest(dimensions)):
            total[index] += byte - 127.5
    norm = sqrt(sum(value * value for value in total)) or 1.0
    return array("f", [value / norm for value in total])


def overlap(query: str, document: str) -> float:
    """Return the share of the query's words that the document has."""
    wanted = set(re.findall(r"\w+", query.lower()))
    return len(wanted & set(re.findall(r"\w+", document.lower()))) / (len(wanted) or 1)
