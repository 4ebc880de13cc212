"""Descriptors 1 and 2 of the code: pipes, so that what subprocesses and C libraries write is heard, too."""

import codecs
import contextlib
import ctypes
import fcntl
import os
import select

NAMES = ("stdout", "stderr")
_READ_BYTES = 64 * 1024
_LINE_BUFFERED = 1


class Descriptors:
    """`reading` and `writing`: the protocol's pipes, which were 0 and 1; 0 is /dev/null from now on."""

    def __init__(self) -> None:
        self.reading = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
        self.writing = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._pipes = [os.pipe() for _ in NAMES]
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in NAMES]
        for reading, _ in self._pipes:
            os.set_blocking(reading, False)
        self.restore()
        self._c = ctypes.CDLL(None)
        for name in NAMES:  # else the C library would keep what it prints: these are no terminals
            self._c.setvbuf(ctypes.c_void_p.in_dll(self._c, name), None, _LINE_BUFFERED, 0)

    def restore(self) -> None:
        """Whatever the code has done to 0, 1 and 2. Raises OSError where it closed our own ends, too."""
        os.dup2(self._null, 0)
        for at, (_, writing) in enumerate(self._pipes):
            os.dup2(writing, 1 + at)

    def flush_c(self) -> None:
        """Lines that the C library has begun."""
        self._c.fflush(None)

    def wait(self) -> None:
        """Until something was written."""
        select.select([reading for reading, _ in self._pipes], (), ())

    def drain(self) -> list[tuple[str, str]]:
        """What was written until now, at most some 100 kB: (name, text)."""
        found: list[tuple[str, str]] = []
        for (reading, _), name, decoder in zip(self._pipes, NAMES, self._decoders, strict=True):
            with contextlib.suppress(BlockingIOError):
                if text := decoder.decode(os.read(reading, _READ_BYTES)):
                    found.append((name, text))
        return found
