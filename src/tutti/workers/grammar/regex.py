"""Rewrites clients' regular expressions for llguidance, which compiles them for llama.cpp.

Dialects differ (Python, ECMA 262, Rust), so a pattern is parsed and rewritten: anchors are removed, classes
are written as ranges, and where the dialects disagree (`\\W`, `.`) only the characters remain that match in
all of them. Supported: literals, `.`, classes, \\d \\w \\s and their complements, groups, `|`, greedy and
lazy quantifiers. What no grammar can express (look-around, back-references, word boundaries, flags) is
refused.
"""

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from tutti.workers.grammar.refused import Refused

Ranges = tuple[tuple[int, int], ...]

_MAX_REPEAT = 100_000
_TOO_OFTEN = f"more than {_MAX_REPEAT} repetitions"
_MAX_DEPTH = 60
_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_ANYTHING = "(?s:.*)"
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7, "e": 27}
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPED_IN_JSON = frozenset({0x22, 0x5C, 0x7F, *range(0x20)})


class _Class(NamedTuple):
    """The characters that a class matches: `least` in every dialect, `most` in at least one of them."""

    least: Ranges
    most: Ranges


_ASCII: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0D), (0x20, 0x20)),
}


@dataclass(frozen=True)
class Pattern:
    """A rewritten pattern. `whole` matches a text from its beginning to its end.

    `padding` is a character that the text must not contain, or 0 if it may contain any (see `_literal`).
    """

    whole: str
    padding: int


def whole_pattern(pattern: str) -> Pattern:
    """Rewrite a regular expression that has to match the whole text. Raises Refused."""
    return Pattern(_Reader(pattern, padding=0, search=False).whole(), 0)


def json_pattern(pattern: str) -> Pattern:
    """Rewrite a `pattern` of JSON Schema, which may match anywhere in the string. Raises Refused."""
    plain = _Reader(pattern, padding=0, search=True)
    text = plain.whole()
    if not plain.points:
        return Pattern(text, 0)
    padding = next((point for point in range(1, 0x20) if point not in plain.points), 0)
    if not padding:
        raise Refused("the regular expression names every control character")
    return Pattern(_Reader(pattern, padding=padding, search=True).whole(), padding)


class _Reader:
    """A recursive descent parser of the pattern. Each method reads one construct and returns it rewritten."""

    def __init__(self, pattern: str, *, padding: int, search: bool) -> None:
        self._pattern = pattern
        self._padding = padding
        self._search = search
        self._at = 0
        self._depth = 0
        self.points: set[int] = set()
        """The code points of those literals in the pattern that JSON escapes."""

    def whole(self) -> str:
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise self._wrong("a ) too many")
        return text

    def _alternatives(self) -> str:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else "(?:" + "|".join(parts) + ")"

    def _sequence(self) -> str:
        parts: list[str] = []
        outermost = self._depth == 0
        begins = outermost and (self._take("^") or self._take("\\A"))
        ends = False
        while self._at < len(self._pattern) and self._next() not in "|)":
            if outermost and self._at_end_anchor():
                ends = True
                continue
            parts.append(self._quantified(self._item()))
        text = "".join(parts)
        if not (outermost and self._search):
            return text
        return ("" if begins else _ANYTHING) + text + ("" if ends else _ANYTHING)

    def _at_end_anchor(self) -> bool:
        """Skip an anchor that ends the pattern or one of its alternatives. Return True if there was one."""
        for anchor in ("$", "\\Z", "\\z"):
            after = self._at + len(anchor)
            if self._pattern.startswith(anchor, self._at) and self._pattern[after : after + 1] in ("", "|"):
                self._at = after
                return True
        return False

    def _item(self) -> str:
        character = self._pop()
        if character == "(":
            return self._group()
        if character == "[":
            return self._set(self._class())
        if character == ".":
            return self._set(_complement(_LINE_ENDS))
        if character == "\\":
            return self._set(self._escape(in_class=False, inverted=False))
        if character in "*+?{":
            raise self._wrong("nothing to repeat")
        if character in "^$":
            raise self._wrong("anchors are only possible around the whole pattern")
        return self._set(_one(character))

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            if not (self._take("P<") or (self._take("<") and self._next() not in "=!")):
                raise self._wrong("look-around, flags and back-references are not supported")
            self._name()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong("too many groups within groups")
        text = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._wrong("a group is not closed")
        return f"(?:{text})"

    def _name(self) -> None:
        end = self._pattern.find(">", self._at)
        if end < 0 or not self._pattern[self._at : end].isidentifier():
            raise self._wrong("a group's name is wrong")
        self._at = end + 1

    def _quantified(self, text: str) -> str:
        bounds = self._bounds()
        if bounds is None:
            return text
        least, most = bounds
        if self._take("+"):
            raise self._wrong("possessive quantifiers are not supported")
        self._take("?")  # lazy: the same language
        if self._next() in ("*", "+", "?"):
            raise self._wrong("two quantifiers in a row")
        if max(least, most or 0) > _MAX_REPEAT:
            raise self._wrong(_TOO_OFTEN)
        return f"{text}{{{least},{'' if most is None else most}}}"

    def _bounds(self) -> tuple[int, int | None] | None:
        for symbol, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(symbol):
                return bounds
        if not self._take("{"):
            return None
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at : end].partition(",") if end > 0 else ("", "", "")
        if not (_is_number(least) and (not most or _is_number(most))):
            raise self._wrong("repetitions are written {m}, {m,} or {m,n}")
        if max(len(least), len(most)) > len(str(_MAX_REPEAT)):  # Python reads no more than 4300 digits
            raise self._wrong(_TOO_OFTEN)
        self._at = end + 1
        low = int(least)
        high = int(most) if most else (None if comma else low)
        if high is not None and high < low:
            raise self._wrong("the second number of {m,n} is the smaller one")
        return low, high

    # --- classes and escapes ---

    def _class(self) -> Ranges:
        inverted = self._take("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._next() != "]":
            ranges += self._class_item(inverted)
            first = False
        self._at += 1
        return _complement(tuple(ranges)) if inverted else _merged(tuple(ranges))

    def _class_item(self, inverted: bool) -> Ranges:
        start = self._class_end(inverted)
        if self._next() != "-" or self._pattern[self._at + 1 : self._at + 2] in ("]", ""):
            return start
        self._at += 1
        end = self._class_end(inverted)
        if len(start) != 1 or len(end) != 1 or start[0][0] != start[0][1] or end[0][0] != end[0][1]:
            raise self._wrong("a range between classes")
        if end[0][0] < start[0][0]:
            raise self._wrong("a range that runs backwards")
        return ((start[0][0], end[0][0]),)

    def _class_end(self, inverted: bool) -> Ranges:
        character = self._pop()
        if character == "\\":
            return self._escape(in_class=True, inverted=inverted)
        if character == "[" and self._next() == ":":
            raise self._wrong("POSIX classes are not supported")
        return _one(character)

    def _escape(self, *, in_class: bool, inverted: bool) -> Ranges:
        character = self._pop()
        if character.lower() in _ASCII:
            known = _known(character)
            return known.most if inverted else known.least
        if in_class and character == "b":
            return ((8, 8),)
        if character in _CONTROLS:
            return ((_CONTROLS[character], _CONTROLS[character]),)
        if character in _HEX:
            point = self._hex(_HEX[character])
            return ((point, point),)
        if character.isalnum():
            raise self._wrong(f"\\{character} is not supported")
        return _one(character)

    def _hex(self, digits: int) -> int:
        """Return the code point after \\x, \\u or \\U: a fixed number of digits, or any number in braces."""
        if self._take("{"):
            text, brace, _ = self._pattern[self._at :].partition("}")
            self._at += len(text) + 1
            whole = bool(brace) and len(text) <= 8
        else:
            text = self._pattern[self._at : self._at + digits]
            self._at += digits
            whole = len(text) == digits
        if not whole or not text or not set(text) <= set("0123456789abcdefABCDEF"):
            raise self._wrong("a hexadecimal escape is wrong")
        point = int(text, 16)
        if not 0 < point <= _LAST or 0xD800 <= point <= 0xDFFF:
            raise self._wrong("an escape that is no character")
        return point

    # --- the cursor ---

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            return " "
        return self._pattern[self._at]

    def _pop(self) -> str:
        if self._at >= len(self._pattern):
            raise self._wrong("it ends too early")
        self._at += 1
        return self._pattern[self._at - 1]

    def _take(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _wrong(self, reason: str) -> Refused:
        return Refused(f"the regular expression cannot be used: {reason} (near character {self._at})")

    def _set(self, ranges: Ranges) -> str:
        if not ranges:
            raise self._wrong("a class without a character")
        low, high = ranges[0]
        if len(ranges) > 1 or low != high or low not in _ESCAPED_IN_JSON:
            return "[" + "".join(_range(low, high) for low, high in ranges) + "]"
        self.points.add(low)
        return self._literal(low)

    def _literal(self, point: int) -> str:
        """Return the pattern of one character that JSON escapes.

        The engine's compiler (derivre 0.3.8) drops whatever follows such a byte in a string, but not what
        follows a class of two characters. So the padding is the second one.
        """
        return f"[{_point(point)}{_point(self._padding)}]" if self._padding else f"[{_point(point)}]"


def _one(character: str) -> Ranges:
    return ((ord(character), ord(character)),)


@lru_cache
def _known(letter: str) -> _Class:
    """Return the class for the d, w or s of an escape, or for a capital letter its complement."""
    positive = letter.lower()
    least = _ASCII[positive]
    most = _merged((*least, *_python_class(positive), *(((0xFEFF, 0xFEFF),) if positive == "s" else ())))
    return _Class(least, most) if letter.islower() else _Class(_complement(most), _complement(least))


@lru_cache
def _python_class(letter: str) -> Ranges:
    """Return the characters of Python's class, which follows Unicode and is the widest of the dialects."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    return tuple((it.start(), it.end() - 1) for it in re.finditer(rf"\{letter}+", everything))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _merged(ranges: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    """Return all other characters, except NUL and the surrogates, which are no characters."""
    gaps: list[tuple[int, int]] = []
    start = 1
    for low, high in _merged((*ranges, _SURROGATES)):
        if low > start:
            gaps.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        gaps.append((start, _LAST))
    return tuple(gaps)


def _range(low: int, high: int) -> str:
    return _point(low) if low == high else f"{_point(low)}-{_point(high)}"


def _point(point: int) -> str:
    if chr(point).isascii() and chr(point).isalnum():
        return chr(point)
    return f"\\x{{{point:X}}}"
