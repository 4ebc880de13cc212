"""Normalises text to the characters that an English voice can say.

Letters of phonetic scripts are transliterated to Latin. Those of other scripts (Chinese, Arabic, Thai) are
refused, because their letters alone do not tell how a word sounds.
"""

import re
import unicodedata

from anyascii import anyascii

from tutti.workers.http import Refused

_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HIRAGANA", "KATAKANA", "HANGUL")
_HARMLESS_MARKS = ("COMBINING", "VARIATION SELECTOR")
_SILENT = "ЬьЪъ"
_MOST_NAMED = 8

_OTHER = re.compile(r"[^\x00-\x7f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_FOREIGN = re.compile(r"[^\W\d_a-zA-Z]+")
_MIXED_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_POWER = re.compile(r"[⁰¹²³⁴-⁹⁺⁻]+")
_KEPT = "²³…™℠′″"
_EQUIVALENT = str.maketrans(
    {
        "‘": "'", "’": "'", "‛": "'", "ʼ": "'", "ʻ": "'", "ʾ": "'", "ʿ": "'", "´": "'",
        "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "‹": '"', "›": '"',
        "「": '"', "」": '"', "『": '"', "』": '"', "《": '"', "》": '"',
        "。": ". ", "、": ", ", "・": " ", "·": " ", "〜": "~", "⁄": "/", "∕": "/",
        "‐": "-", "‑": "-", "‒": "-", "―": "—", "№": "number ", "¿": "", "¡": "",
        "\u2028": "\n", "\u2029": "\n", "\x85": "\n",
    }
)  # fmt: skip


def plain(text: str) -> str:
    """Return the text in one form for each character: composed, full width as ASCII, no invisible ones.

    Raises Refused, naming the characters that can't be said.
    """
    text = _CONTROL.sub(" ", text)
    if text.isascii():
        return text
    text = _POWER.sub(_power, _MIXED_FRACTION.sub(" ", unicodedata.normalize("NFC", text)))
    text = unicodedata.normalize("NFC", _OTHER.sub(_simplified, text.translate(_EQUIVALENT)))
    _check(text)
    return _OTHER.sub(lambda run: "".join(c for c in run[0] if unicodedata.category(c)[0] != "M"), text)


def named(sign: str) -> str:
    """Return the English name of a symbol, such as "not equal to", or "" if it has none."""
    name = unicodedata.name(sign, "").removeprefix("REGIONAL INDICATOR SYMBOL LETTER ")
    return (name.removesuffix(" SIGN") or anyascii(sign).strip(":").replace("_", " ")).lower()


def spelled_out(text: str, known: frozenset[str]) -> str:
    """Transliterate words with letters that English does not have. Only `known` letters and ASCII remain."""
    return _FOREIGN.sub(lambda run: _word(run[0], known), text)


def _power(run: re.Match[str]) -> str:
    return run[0] if run[0] in ("²", "³") else "^" + unicodedata.normalize("NFKC", run[0])


def _simplified(run: re.Match[str]) -> str:
    return "".join(map(_simplest, run[0]))


def _simplest(c: str) -> str:
    category = unicodedata.category(c)
    if c in _KEPT:
        return c
    if category == "Cf" or "\U0001f3fb" <= c <= "\U0001f3ff":  # the colour of an emoji's skin
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(c))
    simple = c if category == "Sk" else unicodedata.normalize("NFKC", c).translate(_EQUIVALENT)
    return f" {named(c)} " if category[0] == "N" and simple == c else simple


def _check(text: str) -> None:
    strange = sorted({c for c in set(text) if not c.isascii() and not _sayable(c)}, key=text.index)
    if strange:
        listed = " ".join(f"{c} (U+{ord(c):04X})" for c in strange[:_MOST_NAMED])
        more = f" and {len(strange) - _MOST_NAMED} more" if len(strange) > _MOST_NAMED else ""
        raise Refused(
            f"This model speaks English and can't say these characters: {listed}{more}. Leave them out, or "
            "write their words in Latin letters.",
            "input",
        )


def _sayable(c: str) -> bool:
    name, category = unicodedata.name(c, ""), unicodedata.category(c)
    if category[0] == "L":
        return name.startswith(_SCRIPTS) and (c in _SILENT or any(map(str.isalpha, anyascii(c))))
    if category[0] == "M":
        return name.startswith(_HARMLESS_MARKS)
    return category[0] == "Z" or bool(named(c))


def _word(word: str, known: frozenset[str]) -> str:
    """Transliterate a word. A Greek letter alone is a symbol, and becomes its name: pi, delta."""
    if len(word) == 1 and (name := unicodedata.name(word, "")).startswith("GREEK"):
        return f" {name.split(' WITH ')[0].split()[-1].lower().replace('lamda', 'lambda')} "
    return "".join(_letters(c, known) for c in word) or " ".join(map(named, word))


def _letters(c: str, known: frozenset[str]) -> str:
    """Transliterate a letter.

    Those in `known` stay, since the model for unknown words pronounces them better.
    """
    if unicodedata.name(c, "").startswith("LATIN") and len(c.lower()) == 1:
        found = next((form for form in (c, c.lower()) if form in known), None)
        if found is not None:
            return found
    ascii_letters = "".join(filter(str.isalpha, anyascii(c)))
    return ascii_letters.lower() if c.islower() or unicodedata.category(c) == "Lo" else ascii_letters
