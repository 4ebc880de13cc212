# pyright: basic
# onnxruntime comes without types.
"""onnxruntime sessions, with the options that all workers share."""

from pathlib import Path
from typing import Any

import onnxruntime


def session(graph: Path, threads: int) -> Any:
    """Threads that wait sleep: the processor is also everybody else's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(graph), options)
