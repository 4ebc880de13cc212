"""A session: a sandbox with a runner in it, which executes one piece of code after the other."""

import asyncio
import itertools
import signal
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tutti.base.errors import CannotSandbox
from tutti.meeting.sandbox_calls import InputFile
from tutti.sandboxes.base import Box, Driver, Limits, Spec, spelled
from tutti.sandboxes.watch import Watch

_START_S = 30.0
_EXIT_S = 5.0
"""Longest time from the end of the runner's output to the end of its process."""
_AGAIN_S = 0.5
_BROKEN = 70
"""Exit status of a runner that the code has broken."""
_STOP_S = 2.0
"""Time from the first interrupt to the kill."""
_SLACK_BYTES = 1024 * 1024
"""Bytes that a runner may send beyond the output limit: errors, and the frame that reaches the limit."""
_OVERHEAD_BYTES = 100
"""Memory that each output takes in addition to its size: a million empty ones take much, too."""
_TURN = 64
"""Number of frames after which other sessions get a turn."""
_MOST_PARTS = 500_000
"""Limit of the parts of one output's JSON. An empty list takes 2 bytes as JSON, but fifty in memory."""
_LEFT_OUT = "[an output was left out: it is no JSON, or it has too many parts]"
_SIGNALS = {number.value: number.name for number in signal.Signals}


class Output(msgspec.Struct):
    """An output as in the API: text, or data by MIME type (display_data, execute_result)."""

    type: Literal["stdout", "stderr", "error", "display_data", "execute_result"]
    data: str | dict[str, Any]


class SessionDied(Exception):
    """The session has ended and can't be used again. `outputs` is what the execution had put out until
    then."""

    def __init__(self, reason: str, outputs: Sequence[Output] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outputs = list(outputs)


class _File(msgspec.Struct):
    name: str
    content: bytes


class _Request(msgspec.Struct):
    code: str
    files: list[_File]


class _Frame(msgspec.Struct):
    type: Literal["ready", "stdout", "stderr", "error", "display_data", "execute_result", "full", "done"]
    data: str | dict[str, Any] = ""


_frames = msgspec.json.Decoder(_Frame)


class Session:
    def __init__(self, box: Box, limits: Limits) -> None:
        self.dead: str | None = None
        self._box = box
        self._limits = limits
        self._reason: str | None = None
        self._lock = asyncio.Lock()
        self._execution: _Execution | None = None
        self._watch = Watch(box, limits, self._kill, self._stop)
        self._watching = asyncio.create_task(self._watch.run())
        self._ending = asyncio.create_task(self._end())

    @classmethod
    async def start(cls, driver: Driver, spec: Spec) -> "Session":
        """Start a sandbox and wait until its runner is ready. Raise CannotSandbox if that fails."""
        box = await driver.start(spec)
        try:
            async with asyncio.timeout(_START_S):
                ready, _ = await _read(box.reader, _SLACK_BYTES)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            reason = f"{error} ({await _killed(box)})"
            raise CannotSandbox(f"The sandbox ({driver.name}) did not start: {reason}") from error
        except BaseException:
            await _killed(box)
            raise
        if ready.type != "ready" or not box.pids():
            await _killed(box)
            raise CannotSandbox(f"The sandbox ({driver.name}) cannot be watched: it shows no processes.")
        return cls(box, spec.limits)

    async def execute(self, code: str, files: Sequence[InputFile] = ()) -> list[Output]:
        """Execute code and return its outputs. A second call waits for the first. Cancelling the call
        interrupts the code.

        Raise SessionDied if the session ends. All other errors of the code are outputs of type error, limits
        that it reaches included."""
        await self._lock.acquire()
        task = asyncio.create_task(self._execute(code, files))
        task.add_done_callback(self._executed)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._execution is None:
                task.cancel()  # it has not begun, or has just ended
            else:
                self._stop("Nobody waits for the code any more.")
            raise

    @property
    def own_bytes(self) -> int:
        """Memory in bytes that the session shares with no other process, as last measured."""
        return self._watch.own_bytes

    def working(self) -> Sequence[int]:
        """Return the ids of the session's processes if they use CPU time, and none if they are idle."""
        return self._box.pids() if self._watch.is_working else ()

    async def ended(self) -> str:
        """Wait until the session is dead, and return the reason."""
        return await asyncio.shield(self._ending)

    async def close(self) -> None:
        self._kill("The session was closed.")
        await self.ended()

    # ------------------------------------------------------------------------------------------------------

    def _executed(self, execution: "asyncio.Task[list[Output]]") -> None:
        self._lock.release()
        if not execution.cancelled():
            execution.exception()  # read it: the caller may have been cancelled

    async def _execute(self, code: str, files: Sequence[InputFile]) -> list[Output]:
        if self.dead is not None or self._reason is not None:
            raise SessionDied(await self.ended())
        self._execution = execution = _Execution(self._limits.output_bytes)
        self._watch.execution_begins()
        late = f"The code ran longer than {self._limits.time_s:g} s."
        execution.timer = asyncio.get_running_loop().call_later(self._limits.time_s, self._stop, late)
        try:
            await self._send(code, files)
            await self._listen(execution)
        except (EOFError, OSError, ValueError) as error:
            reason = await self._death(error)
            raise SessionDied(reason, execution.outputs(reason)) from error
        finally:
            execution.timer.cancel()
            self._execution = None
            if self.dead is not None:
                self._box.close()
        return execution.outputs(execution.stopped)

    async def _send(self, code: str, files: Sequence[InputFile]) -> None:
        sent = [_File(_text(file.name), file.content) for file in files]
        request = msgspec.json.encode(_Request(_text(code), sent))
        self._box.writer.write(len(request).to_bytes(4, "big") + request)
        await self._box.writer.drain()

    async def _listen(self, execution: "_Execution") -> None:
        """Collect outputs until `done`. Raise EOFError or OSError if the runner has ended, ValueError if it
        sends nonsense."""
        for number in itertools.count(1):
            if number % _TURN == 0:
                await asyncio.sleep(0)  # other sessions are waiting
            frame, size = await _read(self._box.reader, execution.left)
            match frame.type:
                case "done":
                    return
                case "full":
                    most = spelled(self._limits.output_bytes)
                    self._stop(f"The code put out more than {most}; the rest is left out.")
                case "ready":
                    raise ValueError("The code broke the runner of its session.")
                case kind:
                    is_text = kind in ("stdout", "stderr", "error")
                    if isinstance(frame.data, str) != is_text:
                        raise ValueError("The code broke the runner of its session.")
                    execution.add(Output(kind, frame.data), size)

    async def _death(self, error: Exception) -> str:
        if isinstance(error, ValueError):
            self._kill(str(error))
        await asyncio.wait([self._ending], timeout=_EXIT_S)
        self._kill("The code closed the runner's channel.")
        return await self.ended()

    def _stop(self, reason: str) -> None:
        """Interrupt the running execution, and kill the session if that does not help."""
        if self._execution is None:
            self._kill(f"{reason} The session was ended.")
        elif self._execution.stopped is None:
            self._execution.stopped = f"{reason} It was interrupted."
            self._interrupt(self._execution, reason, round(_STOP_S / _AGAIN_S))

    def _interrupt(self, execution: "_Execution", reason: str, times: int) -> None:
        """Interrupt the code, and again every `_AGAIN_S`: the first interrupt may come before the code has
        begun."""
        if times == 0:
            self._kill(f"{reason} It went on when it was interrupted, so the session was ended.")
            return
        self._box.interrupt()
        if execution.timer is not None:
            execution.timer.cancel()
        again = asyncio.get_running_loop().call_later
        execution.timer = again(_AGAIN_S, self._interrupt, execution, reason, times - 1)

    def _kill(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._box.kill()

    async def _end(self) -> str:
        status = await self._box.wait()
        self._watching.cancel()
        self.dead = self._reason or _ended(status)
        if self._execution is None:  # otherwise the execution still reads the rest
            self._box.close()
        return self.dead


class _Execution:
    """The state of one execution: its outputs so far, and why it is being stopped, if it is."""

    def __init__(self, output_bytes: int) -> None:
        self.left = output_bytes + _SLACK_BYTES
        self.stopped: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._outputs: list[Output] = []

    def add(self, output: Output, size: int) -> None:
        self.left -= size + _OVERHEAD_BYTES
        self._outputs.append(output)

    def outputs(self, error: str | None) -> list[Output]:
        """Return the outputs, with adjacent pieces of a stream joined. `error` is put at the end if it is not
        None."""
        found: list[Output] = []
        for kind, pieces in itertools.groupby(self._outputs, lambda output: output.type):
            if kind == "stdout" or kind == "stderr":
                found.append(Output(kind, "".join(str(piece.data) for piece in pieces)))
            else:
                found.extend(pieces)
        return found if error is None else [*found, Output("error", error)]


async def _killed(box: Box) -> str:
    """Kill a sandbox, and describe its exit status and what it printed to stderr."""
    box.kill()
    status = await box.wait()
    complaint = box.complaint()
    box.close()
    return f"status {status}, {complaint}"


async def _read(reader: asyncio.StreamReader, most: int) -> tuple[_Frame, int]:
    """Read the next frame and its size. Raise EOFError or OSError if the runner has ended, ValueError for a
    frame that is too large."""
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > most:
        raise ValueError("The code put out more than the runner lets through.")
    body = await reader.readexactly(size)
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_PARTS:
        return _Frame("stderr", _LEFT_OUT), size
    try:
        return _frames.decode(body), size
    except (msgspec.MsgspecError, RecursionError):
        return _Frame("stderr", _LEFT_OUT), size


def _text(text: str) -> str:
    """Replace unpaired surrogates: a client can send them, but they can't be encoded."""
    return text.encode("utf-8", "replace").decode()


def _ended(status: int) -> str:
    if status > 128 and (name := _SIGNALS.get(status - 128)):
        return f"The session's process was ended by {name}."
    if status == _BROKEN:
        return "The code broke the runner of its session."
    return f"The code ended the session's process (status {status})."
