"""The number of examples that `make test` may draw, and the larger one of `make test-long`."""

import os


def is_long() -> bool:
    return os.environ.get("TUTTI_TEST_LONG") == "1"


def examples(few: int) -> int:
    """Return how many examples to draw."""
    return few * 20 if is_long() else few
