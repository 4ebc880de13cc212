"""Answers the requests of the parent process (`process/questions`) one at a time.

The kernel enforces the limits. A message is 4 bytes of length (big-endian), then the content.
"""

import resource
import signal
import sys
from collections.abc import Callable

from tutti.workers.limits import limit_memory, limit_time


def limit_to(memory_bytes: int) -> None:
    """Limit the memory, forbid writing to files, and ignore Ctrl-C.

    Ctrl-C is the parent's to handle: it closes the pipe.
    """
    limit_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def answer_all(answer: Callable[[bytes], bytes], cpu_s: float) -> None:
    """Answer until the parent closes the pipe.

    A question that takes more CPU time than `cpu_s` ends the process.
    """
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    while len(head := reading.read(4)) == 4:
        question = reading.read(int.from_bytes(head, "big"))
        limit_time(cpu_s)
        answered = answer(question)
        limit_time(0)
        writing.write(len(answered).to_bytes(4, "big") + answered)
        writing.flush()
