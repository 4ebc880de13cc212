"""Takes thoughts, `<think>...</think>`, out of streamed text.

What goes in are pieces of the text as an engine writes them; how it was cut into pieces makes no difference.
What comes out are passages, each either content or reasoning. The end of the text is held back for as long as
it may be the beginning of a tag. A tag in quotes or backticks is text, not a tag. A closing tag without an
opening one is left out.
"""

import re
from typing import Literal, NamedTuple

_OPEN = "<think>"
_CLOSE = "</think>"
_TAG = re.compile(r"(?<![`\"'])</?think>")
_QUOTES = ("`", '"', "'")


class Passage(NamedTuple):
    kind: Literal["content", "reasoning"]
    text: str


class Thinking:
    """Splits one text into passages.

    With `anywhere`, a thought may begin at any place of the text; otherwise only at its start, so that a
    model that does not reason may write the tag in its answer. White space around a thought is left out.
    """

    def __init__(self, anywhere: bool) -> None:
        self._anywhere = anywhere
        self._held = ""
        self._within = False
        self._started = False
        self._trim = False
        self._last = " "

    @property
    def idle(self) -> bool:
        """True if all text that follows is content and passes unchanged."""
        return self._started and not (self._anywhere or self._within or self._trim or self._held)

    def mended(self, text: str, *, cut_off: bool) -> str:
        """Return an answer that came whole, with an opening tag in front if only the closing one is there.

        If the model does not reason, an opening tag without a closing one is text. In a stream it is too late
        for both.
        """
        first = _TAG.search(text)
        if self._anywhere and first and first[0] == _CLOSE:
            return _OPEN + text
        self._started = not (self._anywhere or cut_off or _CLOSE in text)
        return text

    def feed(self, text: str) -> list[Passage]:
        self._held += text
        passages: list[Passage] = []
        while self._held and self._step(passages):
            pass
        return passages

    def finish(self) -> list[Passage]:
        """Return the text that was held back because it could have become a tag or the end of a thought."""
        text, self._held = self._held, ""
        if self._within:
            text = text.rstrip()
        if self._trim:
            text = text.lstrip()
        return [Passage("reasoning" if self._within else "content", text)] if text else []

    def _step(self, passages: list[Passage]) -> bool:
        """Take the next passage out of the held text. Return False if that takes more text."""
        if self._trim:
            self._held = self._held.lstrip()
            self._trim = not self._held
        if self._within:
            return self._think(passages)
        return self._answer(passages) if self._started else self._start()

    def _start(self) -> bool:
        text = self._held.lstrip()
        if text.startswith(_OPEN):
            self._open(text)
        elif _OPEN.startswith(text):
            return False
        self._started = True
        return True

    def _answer(self, passages: list[Passage]) -> bool:
        tag = self._next_tag() if self._anywhere else None
        end = tag.start() if tag else len(self._held) - self._unfinished_tag()
        self._pass(passages, "content", end)
        if tag and tag[0] == _OPEN:
            self._open(self._held)
        elif tag:
            self._held = self._held[len(_CLOSE) :]
        return bool(tag)

    def _next_tag(self) -> re.Match[str] | None:
        """Return the next tag that is not in quotes. If it is at the very beginning of the held text, the
        character before that decides."""
        tag = _TAG.search(self._held)
        return _TAG.search(self._held, 1) if tag and not tag.start() and self._last in _QUOTES else tag

    def _unfinished_tag(self) -> int:
        return max(_overlap(self._held, _OPEN), _overlap(self._held, _CLOSE)) if self._anywhere else 0

    def _think(self, passages: list[Passage]) -> bool:
        end, closes = self._next_closer()
        self._pass(passages, "reasoning", len(self._held[:end].rstrip()))
        if closes:
            self._held = self._held.lstrip()[len(_CLOSE) :]
            self._within, self._trim = False, True
        return closes

    def _next_closer(self) -> tuple[int, bool]:
        """Return the position where the thought ends, and True.

        If it takes more text to know that: how many characters surely belong to the thought, and False.
        """
        place = self._held.find(_CLOSE)
        while place >= 0:
            before = self._held[place - 1] if place else self._last
            after = self._held[place + len(_CLOSE) : place + len(_CLOSE) + 1]
            if before not in _QUOTES or (after and after != before):
                return place, True
            if not after:
                return place, False
            place = self._held.find(_CLOSE, place + len(_CLOSE))
        return len(self._held) - _overlap(self._held, _CLOSE), False

    def _pass(self, passages: list[Passage], kind: Literal["content", "reasoning"], size: int) -> None:
        if size:
            passages.append(Passage(kind, self._held[:size]))
            self._last = self._held[size - 1]
            self._held = self._held[size:]

    def _open(self, text: str) -> None:
        self._held = text[len(_OPEN) :]
        self._within, self._trim, self._started = True, True, True


def _overlap(text: str, tag: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `tag`."""
    start = text.rfind("<", max(0, len(text) - len(tag) + 1))
    return len(text) - start if start >= 0 and tag.startswith(text[start:]) else 0
