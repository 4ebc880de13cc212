"""Takes `<think>...</think>` out of streamed text. How the text was cut into pieces makes no difference."""

from typing import Literal, NamedTuple

_OPEN = "<think>"
_CLOSE = "</think>"


class Passage(NamedTuple):
    kind: Literal["content", "reasoning"]
    text: str


class Thinking:
    """White space at either end of a thought is not part of it; nor does what follows begin with any.

    `anywhere`: a thought may begin at any place of the text; otherwise only at its start, so that a model
    that does not think may write the tag in its answer.
    """

    def __init__(self, anywhere: bool) -> None:
        self._anywhere = anywhere
        self._held = ""
        self._within = False
        self._started = False
        self._trim = False

    @property
    def idle(self) -> bool:
        """Whether all that follows is content, unchanged."""
        return self._started and not (self._anywhere or self._within or self._trim or self._held)

    def feed(self, text: str) -> list[Passage]:
        self._held += text
        passages: list[Passage] = []
        while self._held and self._step(passages):
            pass
        return passages

    def finish(self) -> list[Passage]:
        """What was held back because a tag, or white space that ends a thought, might have been coming."""
        text, self._held = self._held, ""
        if self._within:
            text = text.rstrip()
        if self._trim:
            text = text.lstrip()
        return [Passage("reasoning" if self._within else "content", text)] if text else []

    def _step(self, passages: list[Passage]) -> bool:
        """Whether anything more can be done before more text comes."""
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
        before, tag, after = self._held.partition(_OPEN) if self._anywhere else (self._held, "", "")
        kept = 0 if tag or not self._anywhere else _overlap(before, _OPEN)
        _add(passages, "content", before[: len(before) - kept])
        self._held = before[len(before) - kept :]
        if tag:
            self._open(tag + after)
        return bool(tag)

    def _think(self, passages: list[Passage]) -> bool:
        before, tag, after = self._held.partition(_CLOSE)
        thought = before if tag else before[: len(before) - _overlap(before, _CLOSE)]
        thought = thought.rstrip()
        _add(passages, "reasoning", thought)
        self._held = after if tag else before[len(thought) :]
        if tag:
            self._within, self._trim = False, True
        return bool(tag)

    def _open(self, text: str) -> None:
        self._held = text[len(_OPEN) :]
        self._within, self._trim, self._started = True, True, True


def _add(passages: list[Passage], kind: Literal["content", "reasoning"], text: str) -> None:
    if text:
        passages.append(Passage(kind, text))


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    start = text.rfind("<", max(0, len(text) - len(tag) + 1))
    return len(text) - start if start >= 0 and tag.startswith(text[start:]) else 0
