"""Writes out amounts of money. The currency comes after the number, wherever it was written."""

import re
import unicodedata
from types import MappingProxyType

from tutti.workers.speech.characters import named
from tutti.workers.speech.numbers import NUMBER, cardinal

_SIGNS = "".join(filter(lambda c: unicodedata.category(c) == "Sc", map(chr, range(0x20C1)))) + "﷼"
_CODES = MappingProxyType(
    {
        "USD": "dollar", "EUR": "euro", "GBP": "pound", "JPY": "yen", "CNY": "yuan", "RMB": "yuan",
        "CHF": "franc", "CAD": "Canadian dollar", "AUD": "Australian dollar", "NZD": "New Zealand dollar",
        "HKD": "Hong Kong dollar", "SGD": "Singapore dollar", "INR": "rupee", "KRW": "won", "BRL": "real",
        "MXN": "peso", "SEK": "krona", "NOK": "krone", "DKK": "krone", "PLN": "zloty", "CZK": "koruna",
        "HUF": "forint", "RUB": "ruble", "TRY": "lira", "ZAR": "rand", "ILS": "shekel", "BTC": "bitcoin",
        "THB": "baht", "UAH": "hryvnia", "AED": "dirham", "SAR": "riyal",
    }
)  # fmt: skip
_NATIONS = MappingProxyType(
    {
        "US": "US", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian",
        "NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore", "": "",
    }
)  # fmt: skip
_PLURALS = MappingProxyType(
    {
        "krona": "kronor", "krone": "kroner", "real": "reais", "koruna": "koruny", "penny": "pence",
        **{word: word for word in ("yen", "yuan", "won", "baht", "rand")},
    }
)  # fmt: skip
_SMALL = MappingProxyType({"dollar": "cent", "euro": "cent", "pound": "penny"})
_SCALES = MappingProxyType(
    {"k": "thousand", "m": "million", "mn": "million", "mio": "million", "b": "billion", "bn": "billion",
     "t": "trillion", "tn": "trillion"}
)  # fmt: skip

_SCALE = r"(?:\s?(?P<scale>hundred|thousand|million|billion|trillion|mn|mio|bn|tn|[kKmMbBtT])(?![\w]))?"
_SIGN = rf"(?P<nation>\b(?:US|AU|CA|NZ|HK|[ACSR]))?(?P<sign>[{re.escape(_SIGNS)}])"
_CODE = rf"\b(?P<code>{'|'.join(_CODES)}|Rs\.?)"
_MINUS = r"(?P<minus>(?<![\w.)])[-−])?"
_AMOUNT = rf"(?P<number>{NUMBER}){_SCALE}"
_BEFORE = re.compile(rf"{_MINUS}(?:{_SIGN}|{_CODE})\s?(?P<minus2>[-−])?{_AMOUNT}")
_AFTER = re.compile(rf"{_MINUS}(?<![\w.]){_AMOUNT}\s?(?:{_SIGN}(?!\s?\d)|{_CODE}\b)")
_DECIMAL_COMMA = re.compile(r"(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2})|(\d{1,3}(?:\.\d{3})+)")


def spell_money(text: str) -> str:
    return _AFTER.sub(_money, _BEFORE.sub(_money, text))


def _money(found: re.Match[str]) -> str:
    minus = "minus " if found["minus"] or found.groupdict().get("minus2") else ""
    name, number = _currency(found), _english(found["number"])
    if scale := found["scale"]:
        return f" {minus}{number} {_SCALES.get(scale.lower(), scale)} {_many(name)} "
    whole, _, cents = number.partition(".")
    small = _SMALL.get(name.split()[-1])
    if small and len(cents) == 2:
        return f" {minus}{_with_cents(whole, cents, name, small)} "
    return f" {minus}{_counted(number, name)} "


def _with_cents(whole: str, cents: str, name: str, small: str) -> str:
    amounts = ((whole, name), (cents.lstrip("0") or "0", small))
    parts = [_counted(number, unit) for number, unit in amounts if number.strip("0,")]
    return " and ".join(parts) or _counted("0", name)


def _counted(number: str, name: str) -> str:
    return f"{cardinal(number)} {name if number == '1' else _many(name)}"


def _currency(found: re.Match[str]) -> str:
    if code := found["code"]:
        return _CODES.get(code, "rupee")
    if found["nation"] == "R":
        return "real"
    return f"{_NATIONS[found['nation'] or '']} {named(found['sign']).replace('indian ', '')}".strip()


def _many(name: str) -> str:
    return _PLURALS.get(name, f"{name}s")


def _english(number: str) -> str:
    """Return the number in English notation, without separators: 1.234,56 becomes 1234.56."""
    if european := _DECIMAL_COMMA.fullmatch(number):
        whole = (european[1] or european[3]).replace(".", "")
        return f"{whole}.{european[2]}" if european[2] else whole
    return number.replace(",", "")
