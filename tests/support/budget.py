"""What `make test` may spend, and `make test-long` more."""

import os


def is_long() -> bool:
    return os.environ.get("TUTTI_TEST_LONG") == "1"


def examples(few: int) -> int:
    """Return how many examples to draw."""
    return few * 20 if is_long() else few
