"""Makes file descriptors 1 and 2 pipes, so that output of subprocesses and C libraries is captured, too."""

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
    """The file descriptors of the runner.

    `reading` and `writing` are the protocol's pipes, which were descriptors 0 and 1 before; 0 is /dev/null
    now.
    """

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
        for name in NAMES:  # the C library buffers whole blocks otherwise, since these are not terminals
            self._c.setvbuf(ctypes.c_void_p.in_dll(self._c, name), None, _LINE_BUFFERED, 0)

    def restore(self) -> None:
        """Restore descriptors 0, 1 and 2, whatever the code did to them.

        Raises OSError if the code closed the runner's own ends of the pipes, too.
        """
        os.dup2(self._null, 0)
        for at, (_, writing) in enumerate(self._pipes):
            os.dup2(writing, 1 + at)

    def flush_c(self) -> None:
        """Flush the buffers of the C library, which may hold incomplete lines."""
        self._c.fflush(None)

    def wait(self) -> None:
        """Wait until something was written."""
        select.select([reading for reading, _ in self._pipes], (), ())

    def drain(self) -> list[tuple[str, str]]:
        """Return the output so far, as pairs of the stream's name and text, at most about 100 kB."""
        found: list[tuple[str, str]] = []
        for (reading, _), name, decoder in zip(self._pipes, NAMES, self._decoders, strict=True):
            with contextlib.suppress(BlockingIOError):
                if text := decoder.decode(os.read(reading, _READ_BYTES)):
                    found.append((name, text))
        return found
