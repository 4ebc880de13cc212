"""Renders the templates of clients, in a process that may be lost: `python -m tutti.workers.render`.

Asked and answering over its pipes, one message a frame (4 bytes of length, then JSON), one at a time:

    {"templates": {name: source}, "row": {field: value}}
    {"texts": {name: text}}   or   {"failed": name, "reason": "..."}

Jinja's sandbox keeps a template away from Python; the limits here keep it from using the machine up. They are
the kernel's: neither a long multiplication nor a regular expression outlives its CPU time, and the process
ends then. It also ends when its parent's end of the pipe closes.
"""

import resource
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

CPU_S = 2.0
"""For all templates of one row."""
MEMORY_BYTES = 512 * 1024 * 1024
TEXT_CHARACTERS = 1024 * 1024
_GLOBALS = ("range", "dict", "namespace", "joiner", "cycler")


class _Request(msgspec.Struct):
    templates: dict[str, str]
    row: dict[str, Any]


class _TooLong(Exception):
    """The text has reached its limit."""


def main() -> None:
    _limit()
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    while (data := _read(reading)) is not None:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        answer = msgspec.json.encode(_answer(msgspec.json.decode(data, type=_Request)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        writing.write(len(answer).to_bytes(4, "big") + answer)
        writing.flush()


def _limit() -> None:
    """The process writes no files and starts nothing; SIGPROF and SIGXCPU end it."""
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def _answer(request: _Request) -> Mapping[str, Any]:
    texts: dict[str, str] = {}
    for name, source in request.templates.items():
        try:
            texts[name] = _text(_compiled(source), request.row)
        except _TooLong:
            return {"failed": name, "reason": f"its text is longer than {TEXT_CHARACTERS} characters"}
        except (MemoryError, RecursionError):
            return {"failed": name, "reason": "it needs too much memory"}
        except TemplateError as error:
            return {"failed": name, "reason": _brief(error.message)}
        except Exception as error:  # whatever filters and operators raise: the template is the client's
            return {"failed": name, "reason": _brief(str(error)) or type(error).__name__}
    return {"texts": texts}


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    # Unoptimised: the optimiser would compute constant expressions while it compiles.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, optimized=False, cache_size=0)
    environment.globals = {name: environment.globals[name] for name in _GLOBALS}
    return environment.from_string(source)


def _text(template: Template, row: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    length = 0
    for piece in template.generate(row):
        length += len(piece)
        if length > TEXT_CHARACTERS:
            raise _TooLong
        pieces.append(piece)
    return "".join(pieces)


def _brief(reason: str | None) -> str:
    return " ".join((reason or "").split())[:300]


if __name__ == "__main__":
    main()
