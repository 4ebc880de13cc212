"""Compiles clients' schemas and patterns, in a process that may crash: `python -m tutti.workers.grammar`.

It reads requests from stdin and writes answers to stdout, one at a time. A message is 4 bytes of length, then
JSON:

    {"make": {"parts": [{"schema": {...}, "param": "...", "strict": true, "name": null}], "tokens": 100}}
    {"make": {"pattern": "...", "param": "...", "tokens": 100}}
        {"made": {"grammar": "...", "schema": {...}, "left_out": [...]}}
        or {"refused": {"reason": "...", "path": "...", "param": "..."}}
    {"check": {"schema": {...}, "text": "..."}} or {"check": {"pattern": "...", "text": "..."}}
        {"checked": "what is wrong, or an empty string"}

The kernel enforces the limits: a compilation or a regular expression that exceeds its CPU time ends the
process. It also ends when its parent closes the pipe.
"""

import threading
from typing import Any

import msgspec

from tutti.workers.grammar.check import violation
from tutti.workers.grammar.make import Made, Make, made
from tutti.workers.grammar.refused import Refused
from tutti.workers.questions import answer_all, limit_to

CPU_S = 1.0
MEMORY_BYTES = 1024 * 1024 * 1024
_STACK_BYTES = 1024 * 1024
"""Less than the stack of the engine, which compiles the same grammar again."""


class Check(msgspec.Struct):
    text: str
    schema: Any = None
    pattern: str | None = None


class Request(msgspec.Struct):
    make: Make | None = None
    check: Check | None = None


class Refusal(msgspec.Struct):
    reason: str
    path: str
    param: str


class Answer(msgspec.Struct, omit_defaults=True):
    made: Made | None = None
    refused: Refusal | None = None
    checked: str | None = None


def main() -> None:
    limit_to(MEMORY_BYTES)
    threading.stack_size(_STACK_BYTES)
    serving = threading.Thread(target=answer_all, args=(_answer_json, CPU_S))
    serving.start()
    serving.join()


def _answer_json(question: bytes) -> bytes:
    return msgspec.json.encode(_answer(msgspec.json.decode(question, type=Request)))


def _answer(request: Request) -> Answer:
    try:
        if request.make is not None:
            return Answer(made=made(request.make))
        check = request.check or Check("")
        return Answer(checked=violation(check.text, check.schema, check.pattern))
    except Refused as refused:
        return Answer(refused=Refusal(refused.reason, refused.path, refused.param))
    except (MemoryError, RecursionError):
        return Answer(refused=Refusal("it is too large", "", ""))


if __name__ == "__main__":
    main()
