# pyright: basic
# onnxruntime comes without types.
"""onnxruntime sessions, with the options that all workers share."""

from pathlib import Path
from typing import Any

import onnxruntime


def session(graph: Path, threads: int, *, keeps_memory: bool = True) -> Any:
    """Open a graph. Its idle threads sleep instead of spinning, since others need the CPU too.

    `keeps_memory` keeps the memory of a run for the next one, which is faster for large graphs.
    """
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = keeps_memory
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
