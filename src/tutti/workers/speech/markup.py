"""Removes Markdown's markup, which is not to be spoken, and keeps the text in it."""

import re

_RULE = re.compile(r"^[ \t]*(?:[-=*_~+|:#][ \t]*){3,}$|[\u2500-\u259f]+", re.MULTILINE)
_LINE = re.compile(r"^[ \t]*(?:(?:[-*+•]|>+|#{1,6})[ \t]+)+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\s]*)\)")
_CELL = re.compile(r"^[ \t]*\|(.*)\|[ \t]*$", re.MULTILINE)
_PAIR = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*\n]*)(?<=\S)\*(?![\w*])|(?<!\w)_(?=[^\s_])([^_\n]*)(?<=\S)_(?!\w)"
)
_DOUBLE = re.compile(r"(?<!\w)(?:\*{2,3}|_{2,3}|~~|`+)(?=\S)|(?<=\S)(?:\*{2,3}|_{2,3}|~~|`+)(?!\w)")


def unmarked(text: str) -> str:
    text = _LINE.sub("", _RULE.sub("", text))
    text = _CELL.sub(lambda row: row[1].replace("|", ", "), text)
    text = _LINK.sub(r"\1, \2, ", text)
    return _PAIR.sub(lambda pair: pair[1] or pair[2] or "", _DOUBLE.sub("", text))
