"""The code's sys.stdout and sys.stderr, which write to the channel."""

import io
from collections.abc import Callable

from tutti.workers.interpreter.descriptors import NAMES

Write = Callable[[str, str], None]


class _Bytes(io.RawIOBase):
    """The binary stream at `sys.stdout.buffer`, for libraries that write bytes."""

    def __init__(self, text: "Stream") -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        content = bytes(data)
        self._text.write(content.decode("utf-8", "replace"))
        return len(content)


class Stream(io.TextIOBase):
    """A text stream that passes what is written to `write`, with the stream's name."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, write: Write) -> None:
        self.name = f"<{name}>"
        self.buffer = _Bytes(self)
        self._name = name
        self._write = write

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1 + NAMES.index(self._name)

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] # code passes anything
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._write(self._name, text)
        return len(text)
