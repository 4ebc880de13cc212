"""The order in which llama.cpp keeps the rows of a llama's queries and keys."""

from typing import Any

import numpy.typing as npt


def rope_order(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """From the two halves of each head, as transformers rotates them, to pairs."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
