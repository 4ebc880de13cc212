# pyright: basic
# hibari comes without types.
"""Writes out numbers as words."""

import re

from hibari.g2p import numbers

NUMBER = r"\d(?:[\d,.]*\d)?"
"""A number, with any marks for thousands and decimals."""

_MOST_DIGITS = 12
"""A longer number is an account number or a key: its digits are read one by one."""

_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_DECADE = re.compile(r"(?<![\w.,])'?(\d+0)'?s\b")
_MINUS = re.compile(r"(?<![\w)\]])-(?=\.?\d)")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!,?\d)(?:\.\d+)*|\d*(?:\.\d+)+|\d+")


def spell_numbers(text: str) -> str:
    """Write out all numbers in a text. No digit is left out."""
    text = _ORDINAL.sub(lambda found: f"{_ordinal(found[1])} ", text)
    text = _DECADE.sub(lambda found: f"{_plural(number_words(found[1]))} ", text)
    return _NUMBER.sub(lambda found: f" {number_words(found[0])} ", _MINUS.sub(" minus ", text))


def number_words(number: str) -> str:
    """Return a number of digits, thousands commas and points as words.

    A number with several points is a version or an address, and its points are read as "dot".
    """
    whole, *rest = number.replace(",", "").split(".")
    if len(rest) > 1:
        return " dot ".join(map(_whole, filter(None, (whole, *rest))))
    known = _whole(whole, year="," not in number and not rest) if whole else ""
    return f"{known} point {_digits(rest[0])}".strip() if rest else known


def cardinal(number: str) -> str:
    """Return an amount as words. Other than in `number_words`, four digits are never read as a year."""
    return number_words(number) if "." in number else _whole(number.replace(",", ""))


def _whole(digits: str, *, year: bool = False) -> str:
    if len(digits) > _MOST_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return _digits(digits)
    return _plain(numbers.year(int(digits)) if year and 1100 <= int(digits) < 2100 else _cardinal(digits))


def _ordinal(number: str) -> str:
    digits = number.replace(",", "")
    return f"{_whole(digits)} th" if len(digits) > _MOST_DIGITS else _plain(numbers.ordinal(int(digits)))


def _cardinal(digits: str) -> str:
    return numbers.cardinal(int(digits))


def _digits(digits: str) -> str:
    return " ".join(numbers.ONES[int(digit)] for digit in digits)


def _plain(words: str) -> str:
    return words.replace(",", "").replace(" and ", " ").replace("-", " ")


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"
