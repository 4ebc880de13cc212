"""Reads JSON that is still being written: finds its end, and copies it as it comes."""

import re

_STRUCTURE = re.compile(r'["\\{}\[\]]')
_MARKS = re.compile(r'["\\{}\[\]\x00-\x1f]')


class JsonEnd:
    """Finds the end of a JSON object or list that is still being written. Reads every character once."""

    def __init__(self) -> None:
        self._start = self._position = -1
        self._depth = 0
        self._in_string = False

    def find(self, text: str, start: int) -> int | None:
        """Return the position after the end of the value that begins at `start`; None if it has no end yet.

        `text` must be the text of the last call, and perhaps more; another `start` begins a new search.
        """
        if start != self._start:
            self._start = self._position = start
            self._depth, self._in_string = 0, False
        position = self._position
        while mark := _STRUCTURE.search(text, position):
            position = mark.end()
            if mark[0] == "\\":
                if position == len(text):
                    position -= 1
                    break
                position += 1
            elif mark[0] == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if mark[0] in "{[" else -1
                if self._depth <= 0:
                    return position
        else:
            position = len(text)
        self._position = position
        return None


class JsonCopy:
    """Copies an object up to its end. `depth` is the number of braces that are open already.

    Characters that models write raw in a string, though JSON wants them escaped (line breaks above all), are
    escaped.
    """

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._in_string = False
        self._escaped = False
        self.ended = False

    def copy(self, text: str) -> tuple[str, int]:
        """Return the copy of `text`, up to the end of the object at most, and the position where it ends."""
        position = 0
        copied: list[str] = []
        if self._escaped and text:
            copied.append(text[0])
            position, self._escaped = 1, False
        while not self.ended and (mark := _MARKS.search(text, position)):
            copied += (text[position : mark.start()], self._written(mark[0]))
            position = mark.end()
            if self._escaped and position < len(text):
                copied.append(text[position])
                position, self._escaped = position + 1, False
        if not self.ended:
            copied.append(text[position:])
            position = len(text)
        return "".join(copied), position

    def _written(self, char: str) -> str:
        """Return a character as the copy has it, and follow the structure of the JSON."""
        if char == '"':
            self._in_string = not self._in_string
        elif self._in_string:
            self._escaped = char == "\\"
            return f"\\u{ord(char):04x}" if char < " " else char
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            self.ended = self._depth <= 0
        return char
