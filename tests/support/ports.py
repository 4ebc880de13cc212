"""Ports for programs that cannot be told to take any."""

import itertools
import os
import socket
from contextlib import suppress

_RANGE = range(10_000, 15_000)
"""Below those that the kernel hands out: nobody else gets one by chance before the program has bound it, nor
while the program is started again."""
_next = itertools.count(os.getpid() * 1009)  # each process begins elsewhere


def free_port() -> int:
    while True:
        port = _RANGE[next(_next) % len(_RANGE)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
