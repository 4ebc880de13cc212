"""A user at a terminal: start a command in it, type, and read what it shows."""

import codecs
import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.patience import limit


@dataclass
class Terminal:
    """`written` is all that was written to it."""

    descriptor: int
    process: subprocess.Popen[bytes]
    written: str = ""
    _matched_to: int = 0
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    """A character may come in two pieces."""

    @property
    def seen(self) -> str:
        """Everything written so far, without escape sequences for cursor and colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, pattern: str, within_s: float = 60.0) -> None:
        """Wait for a pattern in the text after the previous match."""
        give_up_at = time.monotonic() + limit(within_s)
        while (match := re.compile(pattern).search(self.seen, self._matched_to)) is None:
            assert time.monotonic() < give_up_at, f"no {pattern!r} in {self.seen[self._matched_to :]!r}"
            self._read(0.1)
        self._matched_to = match.end()

    def end(self, within_s: float = 60.0) -> int:
        """Wait until the command has ended, and return its exit status."""
        give_up_at = time.monotonic() + limit(within_s)
        while self.process.poll() is None:
            assert time.monotonic() < give_up_at, f"it goes on after {self.seen!r}"
            self._read(0.05)
        while self._read(0.2):
            pass
        return self.process.returncode

    def _read(self, within_s: float) -> bool:
        """Read what has come. Return False if there was nothing, or nobody has the other end open."""
        if not select.select([self.descriptor], [], [], within_s)[0]:
            return False
        with contextlib.suppress(OSError):
            if raw := os.read(self.descriptor, 65_536):
                self.written += self._decoder.decode(raw)
                return True
        return False


@contextlib.contextmanager
def at_terminal(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Terminal]:
    """Start a command in a terminal of 120 columns. Kill it if it has not ended by itself."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv,
        env={**environment, "TERM": "xterm", "COLUMNS": "120"},
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_control_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _control_terminal() -> None:
    """So that Ctrl-C typed at the terminal is a signal to the child."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
