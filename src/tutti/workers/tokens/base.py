"""What the two ways to count tokens have in common."""

from collections.abc import Callable, Sequence
from typing import Any

Sample = dict[str, Any]
"""`line`, and either `text` or `messages` with or without `tools`."""

Count = Callable[[Sequence[Sample]], int]
"""The tokens of all of them together. Raises Refused."""


class Refused(Exception):
    """The tokeniser or the chat template cannot take the sample of this line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
