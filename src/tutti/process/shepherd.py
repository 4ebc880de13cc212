"""A tiny program that runs another and outlives nobody: `python -I -S shepherd.py GRACE_S PROGRAM [ARG...]`.

Its stdin is a pipe that its starter holds open. On SIGTERM the program's whole process group gets SIGTERM
and, after the grace, SIGKILL; the same, with a grace of a second at most, when the pipe closes (the starter
died, also by kill -9). SIGUSR1 kills at once. On Linux it also adopts the program's orphans, so that a
grandchild in a session of its own is ended too, and the program dies with the shepherd. The exit status is
the program's (128 + n for signal n), 127 where it could not be started. Standard library only, since it runs
beside every child: start and size matter.
"""

import contextlib
import ctypes
import errno
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable

_ORPHANED_GRACE_S = 1.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
_IGNORED = (signal.SIGINT, signal.SIGHUP)
"""A terminal sends these to all processes at once; the starter decides what they mean."""


def main(argv: list[str]) -> int:
    grace_s, program = float(argv[1]), argv[2:]
    wake = _wake_on_signals()
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = _start(program, prctl)
    return _watch(child, wake, grace_s)


def _prctl() -> Callable[[int, int], object]:
    if sys.platform != "linux":
        return lambda _option, _value: None
    library = ctypes.CDLL(None)
    return lambda option, value: library.prctl(option, value, 0, 0, 0)


def _wake_on_signals() -> int:
    wake, write = os.pipe()
    os.set_blocking(write, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _HANDLED:
        signal.signal(number, _noted)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    return wake


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: Python writes the number to the wake pipe."""


def _start(program: list[str], prctl: Callable[[int, int], object]) -> int:
    """Start the program, and return once it runs or could not be started. Before that it has no group of its
    own yet that a signal could be sent to; signals that come meanwhile are in the pipe."""
    shepherd = os.getpid()
    started, starting = os.pipe()  # closed by exec
    child = os.fork()
    if child == 0:
        _become(program, shepherd, prctl)
    os.close(starting)
    os.read(started, 1)
    os.close(started)
    return child


def _become(program: list[str], shepherd: int, prctl: Callable[[int, int], object]) -> None:
    """Become the program, in the forked child: never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*_HANDLED, *_IGNORED):
            signal.signal(number, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shepherd:
            os._exit(127)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execvp(program[0], program)  # noqa: S606 (running it is the purpose)
    except OSError as error:
        os.write(2, f"cannot start {program[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _watch(child: int, wake: int, grace_s: float) -> int:
    status: int | None = None
    deadline = math.inf
    inputs = [0, wake]
    while status is None:
        timeout = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(inputs, [], [], timeout)
        arrived = os.read(wake, 64) if wake in readable else b""
        if 0 in readable and not os.read(0, 64):
            inputs.remove(0)
            deadline = min(deadline, _end_gently(child, min(grace_s, _ORPHANED_GRACE_S)))
        if signal.SIGTERM in arrived:
            deadline = min(deadline, _end_gently(child, grace_s))
        if signal.SIGUSR1 in arrived or time.monotonic() >= deadline:
            _signal_group(child, signal.SIGKILL)
            deadline = math.inf
        status = _reap(child)
    _end_descendants(child)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_gently(child: int, grace_s: float) -> float:
    """Ask the child's group to end, and return the time by which it has to."""
    _signal_group(child, signal.SIGTERM)
    return time.monotonic() + grace_s


def _reap(child: int) -> int | None:
    """Collect everything that has ended; return the child's status if it was among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _signal_group(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, number)


def _end_descendants(child: int) -> None:
    """Kill the rest of the group, then (Linux) the adopted processes, generation by generation."""
    _signal_group(child, signal.SIGKILL)
    while sys.platform == "linux" and (adopted := _children()):
        for pid in adopted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listing:  # noqa: PTH123 (pathlib is slow to import)
            return [int(word) for word in listing.read().split()]
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv))
