"""The types that both ways to count tokens share."""

from collections.abc import Callable, Sequence
from typing import Any

Sample = dict[str, Any]
"""A line of the input: `line` (its number), and either `text` or `messages`, with or without `tools`."""

Count = Callable[[Sequence[Sample]], int]
"""Returns the total number of tokens of the samples. Raises Refused."""


class Refused(Exception):
    """The tokenizer or the chat template fails on the sample of this line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
