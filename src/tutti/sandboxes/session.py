"""A session: a sandbox with a runner in it, and one execution after the other."""

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
"""From the end of the runner's output to the end of its process."""
_AGAIN_S = 0.5
_BROKEN = 70
"""The runner's exit status when the code took away what it needs."""
_STOP_S = 2.0
"""From the interrupt to the kill."""
_SLACK_BYTES = 1024 * 1024
"""What a runner may send over the limit on output: errors, and the frame that reaches it."""
_OVERHEAD_BYTES = 100
"""What an output takes here in addition to its size: a million empty ones are much, too."""
_TURN = 64
"""Frames."""
_MOST_PARTS = 500_000
"""Of the JSON of one output: an empty list takes 2 bytes of it, and fifty in our memory."""
_LEFT_OUT = "[an output was left out: it is no JSON, or it has too many parts]"
_SIGNALS = {number.value: number.name for number in signal.Signals}


class Output(msgspec.Struct):
    """As in the API: a text, or (display_data, execute_result) data by MIME type."""

    type: Literal["stdout", "stderr", "error", "display_data", "execute_result"]
    data: str | dict[str, Any]


class SessionDied(Exception):
    """The session can't be used any more; `outputs` is what the execution put out until then."""

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
        """Returns when the runner is ready. Raises CannotSandbox."""
        box = await driver.start(spec)
        try:
            async with asyncio.timeout(_START_S):
                ready, _ = await _read(box.reader, _SLACK_BYTES)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            told = f"{error} ({await _ended_by_force(box)})"
            raise CannotSandbox(f"The sandbox ({driver.name}) did not start: {told}") from error
        except BaseException:
            await _ended_by_force(box)
            raise
        if ready.type != "ready" or not box.pids():
            await _ended_by_force(box)
            raise CannotSandbox(f"The sandbox ({driver.name}) cannot be watched: it shows no processes.")
        return cls(box, spec.limits)

    async def execute(self, code: str, files: Sequence[InputFile] = ()) -> list[Output]:
        """One at a time: a second call waits. A call that is cancelled interrupts its code.

        Raises SessionDied. What else the code does wrong is an output of type error, a limit reached, too."""
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
        """Memory that it shares with nobody, as of the last look."""
        return self._watch.own_bytes

    def working(self) -> Sequence[int]:
        """The ids of its processes while they use processor time, else none."""
        return self._box.pids() if self._watch.is_working else ()

    async def ended(self) -> str:
        """Waits until the session is dead, and says why."""
        return await asyncio.shield(self._ending)

    async def close(self) -> None:
        self._kill("The session was closed.")
        await self.ended()

    # ------------------------------------------------------------------------------------------------------

    def _executed(self, execution: "asyncio.Task[list[Output]]") -> None:
        self._lock.release()
        if not execution.cancelled():
            execution.exception()  # whoever waited for it may have left

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
        """Until `done`. Raises EOFError or OSError when the runner has gone, ValueError when it babbles."""
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
        """Interrupts what is being executed, and kills the session when that does not help."""
        if self._execution is None:
            self._kill(f"{reason} The session was ended.")
        elif self._execution.stopped is None:
            self._execution.stopped = f"{reason} It was interrupted."
            self._interrupt(self._execution, reason, round(_STOP_S / _AGAIN_S))

    def _interrupt(self, execution: "_Execution", reason: str, times: int) -> None:
        """More than once: the first may come before the code has begun."""
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
        if self._execution is None:  # else it reads what there is
            self._box.close()
        return self.dead


class _Execution:
    """What has been put out, and whether it is being stopped."""

    def __init__(self, output_bytes: int) -> None:
        self.left = output_bytes + _SLACK_BYTES
        self.stopped: str | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._outputs: list[Output] = []

    def add(self, output: Output, size: int) -> None:
        self.left -= size + _OVERHEAD_BYTES
        self._outputs.append(output)

    def outputs(self, error: str | None) -> list[Output]:
        """Adjacent pieces of a stream are joined; then the error, if there is one."""
        found: list[Output] = []
        for kind, pieces in itertools.groupby(self._outputs, lambda output: output.type):
            if kind == "stdout" or kind == "stderr":
                found.append(Output(kind, "".join(str(piece.data) for piece in pieces)))
            else:
                found.extend(pieces)
        return found if error is None else [*found, Output("error", error)]


async def _ended_by_force(box: Box) -> str:
    """Its status, and what it complained about."""
    box.kill()
    status = await box.wait()
    complaint = box.complaint()
    box.close()
    return f"status {status}, {complaint}"


async def _read(reader: asyncio.StreamReader, most: int) -> tuple[_Frame, int]:
    """The next frame and its size. Raises EOFError, OSError, and ValueError for what is no frame."""
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
    """Half a surrogate pair can be sent to us, but not any further."""
    return text.encode("utf-8", "replace").decode()


def _ended(status: int) -> str:
    if status > 128 and (name := _SIGNALS.get(status - 128)):
        return f"The session's process was ended by {name}."
    if status == _BROKEN:
        return "The code broke the runner of its session."
    return f"The code ended the session's process (status {status})."
