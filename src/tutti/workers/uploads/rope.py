"""The order in which llama.cpp stores the rows of a Llama's query and key matrices."""

from typing import Any

import numpy.typing as npt


def rope_order(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Reorder the rows of each head from two halves, as transformers' RoPE takes them, to adjacent pairs."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
