"""Reads what clients want enforced, in a process that may be lost: `python -m tutti.workers.grammar`.

Asked and answering over its pipes, one message a frame (4 bytes of length, then JSON), one at a time:

    {"make": {"parts": [{"schema": {...}, "param": "...", "strict": true, "name": null}], "tokens": 100}}
    {"make": {"pattern": "...", "param": "...", "tokens": 100}}
        {"made": {"grammar": "...", "schema": {...}, "left_out": [...]}}
        or {"refused": {"reason": "...", "path": "...", "param": "..."}}
    {"check": {"schema": {...}, "text": "..."}} or {"check": {"pattern": "...", "text": "..."}}
        {"checked": "what is wrong, or nothing"}

The limits are the kernel's: neither a compiler nor a regular expression outlives its CPU time, and the
process ends then. It also ends when its parent's end of the pipe closes.
"""

import resource
import signal
import sys
import threading
from typing import Any, BinaryIO

import msgspec

from tutti.workers.grammar.check import violation
from tutti.workers.grammar.make import Made, Make, made
from tutti.workers.grammar.refused import Refused

CPU_S = 1.0
MEMORY_BYTES = 1024 * 1024 * 1024
_STACK_BYTES = 1024 * 1024
"""Less than the engine's, which compiles the same again."""


class Check(msgspec.Struct):
    text: str
    schema: Any = None
    pattern: str | None = None


class Request(msgspec.Struct):
    make: Make | None = None
    check: Check | None = None


class Why(msgspec.Struct):
    reason: str
    path: str
    param: str


class Answer(msgspec.Struct, omit_defaults=True):
    made: Made | None = None
    refused: Why | None = None
    checked: str | None = None


def main() -> None:
    _limit()
    threading.stack_size(_STACK_BYTES)
    serving = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    serving.start()
    serving.join()


def _limit() -> None:
    """The process writes no files and starts nothing; SIGPROF ends it."""
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe


def _serve(reading: BinaryIO, writing: BinaryIO) -> None:
    while (data := _read(reading)) is not None:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        answer = msgspec.json.encode(_answer(msgspec.json.decode(data, type=Request)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        writing.write(len(answer).to_bytes(4, "big") + answer)
        writing.flush()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def _answer(request: Request) -> Answer:
    try:
        if request.make is not None:
            return Answer(made=made(request.make))
        check = request.check or Check("")
        return Answer(checked=violation(check.text, check.schema, check.pattern))
    except Refused as refused:
        return Answer(refused=Why(refused.reason, refused.path, refused.param))
    except (MemoryError, RecursionError):
        return Answer(refused=Why("it is too large", "", ""))


if __name__ == "__main__":
    main()
