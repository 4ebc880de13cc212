# pyright: basic
# hibari comes without types.
"""Text normalisation: writes out numbers, symbols, addresses and abbreviations as the words that are spoken.

hibari's own normalisation handles times, dates, titles and Roman numerals. Whatever it would drop is written
out before it, and whatever it leaves is written out after it. In the end there are only words and pauses.
"""

import re
from collections.abc import Callable, Iterator
from types import MappingProxyType

from hibari.g2p.normalize import normalize

from tutti.workers.speech.characters import named, spelled_out
from tutti.workers.speech.measures import spell_measures
from tutti.workers.speech.money import spell_money
from tutti.workers.speech.numbers import spell_numbers

MOST_LETTERS = 24
"""The longest word that the model for unknown words takes. A longer one is read in parts."""

_PAUSES = frozenset("\t\n ,.;:!?'\"“”()[]{}-–—…•‧‖।")
_BRACKETS = str.maketrans(
    {"[": "(", "]": ")", "{": "(", "}": ")", "–": "—", "•": ",", "‧": " ", "‖": ",", "।": "."}
)

_SIGNS = MappingProxyType(
    {
        "&": "and", "@": "at", "#": "hash", "+": "plus", "=": "equals", "/": "slash", "\\": "backslash",
        "*": "asterisk", "_": "underscore", "~": "tilde", "^": "caret", "|": "bar", "<": "less than",
        ">": "greater than", "`": "backtick", "%": "percent", "$": "dollar", "−": "minus", "×": "times",
        "÷": "divided by", "±": "plus or minus", "²": "squared", "³": "cubed", "→": "to", "≈": "about",
        "°": "degrees", "§": "section", "¶": "paragraph", "©": "copyright", "™": "trademark",
        "℠": "service mark",
        "‰": "per mille", "′": "prime", "″": "double prime",
        "≤": "less than or equal to", "≥": "greater than or equal to",
    }
)  # fmt: skip
_LATER = frozenset("/%+#°")
"""Symbols that hibari's normalisation needs: in dates, after numbers, before them."""
_IN_ADDRESSES = MappingProxyType(
    {**_SIGNS, ".": "dot", ":": "colon", "-": "dash", "?": "question mark", ",": "comma", ";": "semicolon",
     "!": "exclamation mark"}
)  # fmt: skip

_ADDRESS = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\"]+|mailto:\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<![\w.@])(?:\w[\w-]*\.)+[a-z]{2,}(?::\d+)?(?:[/?#][^\s<>\"]*)?(?!\w))(?<![.,;:!?)\]'])"
)
_ADDRESS_PARTS = re.compile(r"[^\W\d_]+|\d|.")
_SHORTENED = re.compile(r"\b(?:e\.\s?g\.|i\.\s?e\.|eg\.|ie\.)")
_NOT_SHORTENED = re.compile(r"\b(no|nos|fig|ch|ed|est|Sun|Sat|Mar)\.(?!\s?\d)")
_STREET = re.compile(r"((?:\b\d+\w* |\b[a-z]+ )(?:[A-Z][a-z]+ )+)(St|Dr)\b\.?(?=[ ,.;]|$)")
_MIXED = re.compile(r"(\d) (\d{1,2}/\d{1,2})(?![\d/])")
_POWER = re.compile(r"(?<=[\w)])\s?(?:\^|\*\*)\s?(?=[-−\w(])")
_EXPONENT = re.compile(r"(?<=\d[eE])-(?=\d)")
_SHARP = re.compile(r"\b([A-G])#(?!\w)")
_AREA_CODE = re.compile(r"\((\d{2,5})\)(?=[ -]?\d)")
_TIMES = re.compile(r"(?<=[\d)])\s?\*\s?(?=[\d(])|(?<=\d)\s+x\s+(?=\d)|(?<=\d)(?<!\b0)x(?=\d)")
_ABOUT = re.compile(r"(?<![\w~])~\s?(?=[\d$€£])")
_DIFFERENCE = re.compile(r"(?<=\d)\s?[-–]\s?(?=\d+\s?=)")
_DASHES = re.compile(r"-{2,}")
_SIGN = re.compile(r"[^\w\s]|_")
_LONG = re.compile(rf"([^\W\d_]{{{MOST_LETTERS}}})(?=[^\W\d_])")
_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")
_SPACES = re.compile(r"\s+")
_BEFORE_PAUSE = re.compile(r" +(?=[,.;:!?])")


def words(text: str, known: frozenset[str]) -> str:
    """Write out a piece of text. `known` are the letters that the model for unknown words takes."""
    for step in _steps(known):
        text = step(text)
    return _BEFORE_PAUSE.sub("", _SPACES.sub(" ", text)).strip()


def _steps(known: frozenset[str]) -> Iterator[Callable[[str], str]]:
    yield lambda text: _ADDRESS.sub(_address, text)
    yield _abbreviations
    yield spell_money
    yield spell_measures
    yield _mathematics
    yield lambda text: _SIGN.sub(lambda sign: sign[0] if sign[0] in _LATER else _symbol_name(sign[0]), text)
    yield normalize
    yield lambda text: spell_numbers(_HYPHEN.sub(_hyphen, text))
    yield lambda text: _SIGN.sub(lambda sign: _symbol_name(sign[0]), text)
    yield lambda text: _LONG.sub(r"\1 ", spelled_out(text, known).translate(_BRACKETS))


def _address(found: re.Match[str]) -> str:
    """Write out every symbol of an address.

    Initials and names of two letters (U.S., e.g.) are not addresses.
    """
    if all(len(part) <= 2 for part in re.findall(r"\w+", found[0])) and "@" not in found[0]:
        return found[0]
    parts = (_address_part(part) for part in _ADDRESS_PARTS.findall(found[0]))
    return f" {' '.join(parts)} "


def _address_part(part: str) -> str:
    if part.lower() == "www":
        return "w w w"
    return part if part.isalnum() else _IN_ADDRESSES.get(part) or _symbol_name(part)


def _abbreviations(text: str) -> str:
    text = _SHORTENED.sub(lambda it: "for example" if it[0][0] == "e" else "that is", text)
    text = _STREET.sub(lambda it: it[1] + {"St": "Street", "Dr": "Drive"}[it[2]], text)
    return _NOT_SHORTENED.sub(r"\1 .", text)  # hibari takes "no ." for no "number"


def _mathematics(text: str) -> str:
    text = _SHARP.sub(r"\1 sharp", _EXPONENT.sub(" minus ", text))
    text = _AREA_CODE.sub(lambda code: " ".join(code[1]) + ",", text)
    text = _DASHES.sub("—", _DIFFERENCE.sub(" minus ", _MIXED.sub(r"\1 and \2", text)))
    text = _TIMES.sub(" times ", _POWER.sub(" to the power of ", text))
    return _ABOUT.sub("about ", text)


def _symbol_name(sign: str) -> str:
    if sign in _PAUSES or sign.isalpha():
        return sign
    return f" {_SIGNS.get(sign) or named(sign)} "


def _hyphen(found: re.Match[str]) -> str:
    """Return a hyphen between letters, which it joins, and a space beside a number."""
    before, after = found.string[found.start() - 1], found.string[found.end()]
    return "-" if before.isalpha() and after.isalpha() else " "
