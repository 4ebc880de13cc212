"""Regular expressions as GBNF, the grammars of llama.cpp.

The whole output must match, so `^` and `$` around the pattern change nothing. Known: literals, `.`, classes,
\\d \\w \\s (ASCII) and their opposites, groups, `|`, greedy or lazy quantifiers. What no grammar can say, or
what is not worth its cost (look-around, back-references, word boundaries, flags), is an InvalidRequest.
"""

from dataclasses import dataclass

from tutti.base.errors import InvalidRequest

Ranges = tuple[tuple[int, int], ...]

_MAX_REPEAT = 1000
_TOO_OFTEN = f"more than {_MAX_REPEAT} repetitions"
_MAX_SIZE = 20_000  # of the grammar with its repetitions written out: llama.cpp does write them out
_MAX_DEPTH = 60
_LAST = 0x10FFFF
_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7, "e": 27}
_HEX = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True)
class _Part:
    """`size` counts what the grammar comes to; `empty`: it also matches nothing at all."""

    text: str
    size: int
    empty: bool


def regex_grammar(pattern: str) -> str:
    """Raises InvalidRequest for a pattern that is wrong or has no grammar."""
    return f"root ::= {_Reader(pattern).whole().text}\n"


class _Reader:
    """A cursor over the pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> _Part:
        part = self._alternatives()
        if self._at < len(self._pattern):
            raise self._wrong("a ) too many")
        return part

    def _alternatives(self) -> _Part:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        if len(parts) == 1:
            return parts[0]
        text = "(" + " | ".join(part.text for part in parts) + ")"
        return self._sized(_Part(text, sum(part.size for part in parts), any(part.empty for part in parts)))

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        if self._depth == 0:
            _ = self._take("^") or self._take("\\A")
        while self._at < len(self._pattern) and self._next() not in "|)":
            if self._depth == 0 and self._at_end_anchor():
                continue
            parts.append(self._quantified(self._item()))
        text = " ".join(part.text for part in parts) or '""'
        return self._sized(_Part(text, sum(part.size for part in parts), all(part.empty for part in parts)))

    def _at_end_anchor(self) -> bool:
        """Takes an anchor that ends the pattern, or one of its alternatives."""
        for anchor in ("$", "\\Z", "\\z"):
            after = self._at + len(anchor)
            if self._pattern.startswith(anchor, self._at) and self._pattern[after : after + 1] in ("", "|"):
                self._at = after
                return True
        return False

    def _item(self) -> _Part:
        character = self._pop()
        if character == "(":
            return self._group()
        if character == "[":
            return _Part(_set(self._class()), 1, False)
        if character == ".":
            return _Part(_set(_opposite(((10, 10),))), 1, False)
        if character == "\\":
            ranges = self._escape(in_class=False)
            return _Part(_set(ranges), 1, False)
        if character in "*+?{":
            raise self._wrong("nothing to repeat")
        if character in "^$":
            raise self._wrong("anchors are only possible around the whole pattern")
        return _Part(_set(((ord(character), ord(character)),)), 1, False)

    def _group(self) -> _Part:
        if self._take("?") and not self._take(":"):
            if not (self._take("P<") or (self._take("<") and self._next() not in "=!")):
                raise self._wrong("look-around, flags and back-references are not supported")
            self._name()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong("too many groups within groups")
        part = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._wrong("a group is not closed")
        return _Part(f"({part.text})", part.size, part.empty)

    def _name(self) -> None:
        end = self._pattern.find(">", self._at)
        if end < 0 or not self._pattern[self._at : end].isidentifier():
            raise self._wrong("a group's name is wrong")
        self._at = end + 1

    def _quantified(self, part: _Part) -> _Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        least, most = bounds
        if self._take("+"):
            raise self._wrong("possessive quantifiers are not supported")
        self._take("?")  # lazy: the same language
        if self._next() in ("*", "+", "?"):
            raise self._wrong("two quantifiers in a row")
        if most is None and part.empty:
            raise self._wrong("something that may be empty is repeated without end")
        if max(least, most or 0) > _MAX_REPEAT:
            raise self._wrong(_TOO_OFTEN)
        size = part.size * (least + 1 if most is None else most)
        end = "" if most is None else str(most)
        return self._sized(_Part(f"{part.text}{{{least},{end}}}", size, part.empty or least == 0))

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
            ranges += self._class_item()
            first = False
        self._at += 1
        return _opposite(tuple(ranges)) if inverted else _merged(tuple(ranges))

    def _class_item(self) -> Ranges:
        start = self._class_end()
        if self._next() != "-" or self._pattern[self._at + 1 : self._at + 2] in ("]", ""):
            return start
        self._at += 1
        end = self._class_end()
        if len(start) != 1 or len(end) != 1 or start[0][0] != start[0][1] or end[0][0] != end[0][1]:
            raise self._wrong("a range between classes")
        if end[0][0] < start[0][0]:
            raise self._wrong("a range that runs backwards")
        return ((start[0][0], end[0][0]),)

    def _class_end(self) -> Ranges:
        character = self._pop()
        if character == "\\":
            return self._escape(in_class=True)
        if character == "[" and self._next() == ":":
            raise self._wrong("POSIX classes are not supported")
        return ((ord(character), ord(character)),)

    def _escape(self, *, in_class: bool) -> Ranges:
        character = self._pop()
        if ranges := _CLASSES.get(character.lower()):
            return ranges if character.islower() else _opposite(ranges)
        if in_class and character == "b":
            return ((8, 8),)
        if character in _CONTROLS:
            return ((_CONTROLS[character], _CONTROLS[character]),)
        if character in _HEX:
            point = self._hex(_HEX[character])
            return ((point, point),)
        if character.isalnum():
            raise self._wrong(f"\\{character} is not supported")
        return ((ord(character), ord(character)),)

    def _hex(self, digits: int) -> int:
        """After \\x, \\u or \\U: as many digits as it takes, or any number in braces."""
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

    def _sized(self, part: _Part) -> _Part:
        if part.size > _MAX_SIZE:
            raise self._wrong("it is too large")
        return part

    def _wrong(self, reason: str) -> InvalidRequest:
        return InvalidRequest(
            f"The regular expression cannot be used: {reason} (near character {self._at}).",
            param="response_format",
        )


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


def _opposite(ranges: Ranges) -> Ranges:
    """All other characters, but for NUL, which ends a grammar's text in C."""
    gaps: list[tuple[int, int]] = []
    start = 1
    for low, high in _merged(ranges):
        if low > start:
            gaps.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        gaps.append((start, _LAST))
    return tuple(gaps)


def _set(ranges: Ranges) -> str:
    return "[" + "".join(_range(low, high) for low, high in ranges) + "]"


def _range(low: int, high: int) -> str:
    return _point(low) if low == high else f"{_point(low)}-{_point(high)}"


def _point(point: int) -> str:
    if chr(point).isascii() and chr(point).isalnum():
        return chr(point)
    if point <= 0xFF:
        return f"\\x{point:02X}"
    return f"\\u{point:04X}" if point <= 0xFFFF else f"\\U{point:08X}"
