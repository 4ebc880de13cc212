# pyright: basic
# hibari comes without types.
"""Writes out units of measurement after numbers, with powers and divisors: "5 m/s²" is "5 meters per square
second"."""

import re
from types import MappingProxyType

from hibari.g2p.normalize import UNITS as HIBARIS

from tutti.workers.speech.numbers import NUMBER

UNITS = MappingProxyType(
    {
        **HIBARIS,
        **{
            short: [long, f"{long}s"]
            for short, long in {
                "m": "meter", "g": "gram", "l": "liter", "L": "liter", "W": "watt", "V": "volt",
                "mV": "millivolt", "kV": "kilovolt", "mA": "milliamp", "Wh": "watt hour",
                "mL": "milliliter", "cl": "centiliter", "t": "ton", "kcal": "kilocalorie",
                "N": "newton", "J": "joule", "kJ": "kilojoule", "Pa": "pascal", "hPa": "hectopascal",
                "kPa": "kilopascal", "dB": "decibel", "PB": "petabyte", "GiB": "gibibyte",
                "MiB": "mebibyte", "KiB": "kibibyte", "TiB": "tebibyte", "s": "second", "h": "hour",
                "d": "day", "ha": "hectare", "μm": "micrometer", "μg": "microgram",
                "μs": "microsecond", "ns": "nanosecond", "px": "pixel", "Ω": "ohm", "kΩ": "kilohm",
            }.items()
        },
    }
)  # fmt: skip
_ONLY_WITH_MORE = frozenset(("s", "h", "d", "t", "N", "J", "L"))
"""Units of one letter that are read as units only if a power or another unit follows."""

_NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_MEASURE = re.compile(
    rf"(?<![\w.])(?P<number>-?{NUMBER})\s?(?P<unit>{_NAMES})(?P<power>\^?[²³23](?!\d))?"
    rf"(?:\s?/\s?(?P<per>{_NAMES})(?P<per_power>\^?[²³23](?!\d))?)?(?![\w°])"
)
_FEET = re.compile(r"(?<!['\w])(\d+)[′'](?:\s?(\d+)(?:[″\"]|''))?(?!\w)")
_POWERS = MappingProxyType({"2": "square ", "²": "square ", "3": "cubic ", "³": "cubic "})


def spell_measures(text: str) -> str:
    """Write out the measures in a text, except degrees, which hibari's text normalisation handles."""
    return _MEASURE.sub(_measure, _FEET.sub(_feet, text))


def _measure(found: re.Match[str]) -> str:
    unit, more = found["unit"], found["power"] or found["per"]
    if not more and unit in _ONLY_WITH_MORE:
        return found[0]
    one = found["number"] in ("1", "-1")
    per = f"per {_powered(found['per'], found['per_power'], one=True)} " if found["per"] else ""
    return f"{found['number']} {_powered(unit, found['power'], one=one)} {per}"


def _powered(unit: str, power: str | None, *, one: bool) -> str:
    return _POWERS.get((power or " ")[-1], "") + UNITS[unit][0 if one else 1]


def _feet(found: re.Match[str]) -> str:
    return f"{found[1]} feet" + (f" {found[2]} inches" if found[2] else "")
