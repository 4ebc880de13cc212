"""Sends all output of the code, in order, as frames to the sandbox host.

Requests: {"code", "files": [{"name", "content": base64}]}. Answers: {"type": "ready"} once; then for each
request any number of {"type", "data"} as in the API's outputs, {"type": "full"} if further output is dropped,
and {"type": "done"}.

Nothing is sent between two executions. Output that arrives then, from threads or background processes, is
kept for the next one, up to a limit. Beyond it output of threads is dropped, and processes block on a full
pipe.
"""

import contextlib
import os
import re
import signal
import threading
import time
from itertools import groupby
from types import FrameType
from typing import Any

from tutti.workers.interpreter import frames
from tutti.workers.interpreter.descriptors import NAMES, Descriptors

_CHUNK = 32 * 1024
_KEPT = 64 * 1024
"""The most characters of output that are kept between executions."""
_AT_ONCE, _PAUSE_S = 100, 0.05
"""The first 100 lines are sent at once, later ones with this pause between two frames. So little is lost if
the process ends suddenly, and a million lines cost little."""
_QUIET_S = 0.0005
"""If Python printed nothing for this long, subprocesses may have: their output is read first then."""
_OVERHEAD = 100
"""The bytes that a frame counts in addition to its size: a million empty ones reach the limit, too."""
_ERROR_CHARACTERS = 32 * 1024
_LATE_ERRORS = 4
"""The errors that are sent even if other output is dropped, because they say how the code ended."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Channel:
    """The connection to the sandbox host, and the output that is still to be sent."""

    def __init__(self, output_bytes: int, *, is_sandboxed: bool) -> None:
        """Open the channel. `output_bytes` limits the output of an execution.

        `is_sandboxed`: see sandboxes/base.py.
        """
        self._descriptors = Descriptors()
        self._is_sandboxed = is_sandboxed
        self._output_bytes = output_bytes
        self._left = self._late_errors = 0
        self._full = False
        self._pending: list[tuple[str, str]] = []
        self._size = 0
        self._flushes = 0
        self._flushed_at = self._written_at = 0.0
        self._lock = threading.RLock()
        self._opened = threading.Event()
        self._main = threading.get_ident()
        self._interruptible = self._sending = self._interrupted = False
        self._forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def start(self) -> None:
        threading.Thread(target=self._pump, daemon=True).start()
        self._send({"type": "ready"})

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next request. Return None if there will be none."""
        return frames.read(self._descriptors.reading)

    def begin(self) -> None:
        """Begin an execution: from here on output is sent, and an interrupt raises KeyboardInterrupt."""
        self._descriptors.restore()
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._left, self._full, self._flushes = self._output_bytes, False, 0
        self._late_errors = _LATE_ERRORS
        self._opened.set()
        self._interrupted = False
        self._interruptible = True

    def calm(self) -> None:
        """Ignore interrupts from here on."""
        self._interruptible = False

    def end(self) -> None:
        """End an execution: send the rest of its output, and `done`."""
        self._descriptors.flush_c()
        with self._lock:
            self._drain()
            self._flush()
            self._opened.clear()
            self._send({"type": "done"})

    # --- output -------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> None:
        if self._forked:  # the parent process, from which the code forked, reads the pipe
            frames.write(1 + NAMES.index(name), text.encode("utf-8", "replace"))
            return
        with self._lock:
            now = time.monotonic()
            if now - self._written_at > _QUIET_S:
                self._drain()
            self._written_at = now
            self._append(name, text)
            if "\n" in text and (self._flushes < _AT_ONCE or now - self._flushed_at > _PAUSE_S):
                self._flush()

    def show(self, kind: str, data: dict[str, Any]) -> None:
        """Send a `display_data` or `execute_result`: data by MIME type."""
        if self._forked:
            self.write("stdout", f"{data.get('text/plain', '')}\n")
            return
        with self._lock:
            self._drain()
            self._flush()
            frame = frames.encode({"type": kind, "data": data})
            if len(frame) + _OVERHEAD > self._left:
                note = f"[{', '.join(data)}: {len(frame)} bytes left out, more than an execution may put out]"
                frame = frames.encode({"type": kind, "data": {"text/plain": note}})
            self._spend(frame)

    def error(self, text: str) -> None:
        """Send an error. A long text is shortened in its middle."""
        if self._forked:
            self.write("stderr", f"{text}\n")
            return
        with self._lock:
            self._drain()
            self._flush()
            frame = frames.encode({"type": "error", "data": _shortened(_COLOURS.sub("", text))})
            if len(frame) + _OVERHEAD > self._left and self._late_errors > 0:
                self._late_errors -= 1
                self._put(frame)
            else:
                self._spend(frame)

    def _drain(self) -> None:
        for name, text in self._descriptors.drain():
            self._append(name, text)

    def _append(self, name: str, text: str) -> None:
        opened = self._opened.is_set()
        if not opened:
            text = text[: max(0, _KEPT - self._size)]
        if text:
            self._pending.append((name, text))
        self._size += len(text)
        if opened and self._size > _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if not self._opened.is_set():
            return
        pending, self._pending, self._size = self._pending, [], 0
        for name, pieces in groupby(pending, lambda piece: piece[0]):
            text = "".join(text for _, text in pieces)
            for start in range(0, len(text), _CHUNK):
                if self._full:
                    return
                self._spend(frames.encode({"type": name, "data": text[start : start + _CHUNK]}))
        self._flushes += 1
        self._flushed_at = time.monotonic()

    def _spend(self, frame: bytes) -> None:
        self._left -= len(frame) + _OVERHEAD
        if self._left >= 0:
            self._put(frame)
        elif not self._full:
            self._full = True
            self._send({"type": "full"})

    def _send(self, message: dict[str, Any]) -> None:
        self._put(frames.encode(message))

    def _put(self, frame: bytes) -> None:
        """Write a whole frame. An interrupt takes effect after it."""
        if threading.get_ident() != self._main:
            frames.write(self._descriptors.writing, frame)
            return
        self._sending = True
        try:
            frames.write(self._descriptors.writing, frame)
        finally:
            self._sending = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _pump(self) -> None:
        """Forward output that does not come from Python's streams. Runs in a thread of its own."""
        while True:
            self._descriptors.wait()
            with self._lock:
                self._drain()
                self._flush()
            if self._size >= _KEPT:
                self._opened.wait()

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if not self._interruptible:
            return
        if self._is_sandboxed:
            with contextlib.suppress(OSError):
                os.kill(
                    -1, signal.SIGTERM
                )  # ends all other processes in the sandbox: the code's subprocesses
        if self._sending:
            self._interrupted = True
        else:
            raise KeyboardInterrupt

    def _after_fork(self) -> None:
        self._forked = True
        self._lock = threading.RLock()
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _shortened(text: str) -> str:
    if len(text) <= _ERROR_CHARACTERS:
        return text
    half = _ERROR_CHARACTERS // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
