"""Renders the templates of clients, in a process that may be lost: `python -m tutti.workers.render CPU_S`.

Asked and answering over its pipes, one message a frame (4 bytes of length, then JSON), one at a time:

    {"templates": {name: source}, "row": {field: value}}      without a row the templates are only tried
    {"texts": {name: text}}   or   {"failed": name, "reason": "...", "missing": whether it is a missing field}

A template sees each field of the row under its name, and all of them as `row`. Jinja's sandbox keeps it away
from Python; the limits here keep it from using the machine up. They are the kernel's: neither a long
multiplication nor a regular expression outlives its CPU time, and the process ends then. Compiling counts
too: Jinja computes constant expressions while it compiles. A template that is tried is compiled, and rendered
as if every field were empty: what exceeds the limits even then is told. The process also ends when its
parent's end of the pipe closes.
"""

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from jinja2 import (
    ChainableUndefined,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutti.workers.questions import answer_all, limit_to

MEMORY_BYTES = 512 * 1024 * 1024
TEXT_CHARACTERS = 1024 * 1024
_GLOBALS = ("range", "dict", "namespace", "joiner", "cycler")
_HINT = 'a field whose name is not one word is written {{ row["its name"] }}'

Row = Mapping[str, Any]


class _Request(msgspec.Struct):
    templates: dict[str, str]
    row: dict[str, Any] | None = None


class _TooLong(Exception):
    """The text has reached its limit."""


def main() -> None:
    limit_to(MEMORY_BYTES)
    answer_all(_answered, cpu_s=float(sys.argv[1]))  # for all templates of one message


def _answered(question: bytes) -> bytes:
    return msgspec.json.encode(_answer(msgspec.json.decode(question, type=_Request)))


def _answer(request: _Request) -> Mapping[str, Any]:
    texts: dict[str, str] = {}
    for name, source in request.templates.items():
        try:
            if request.row is None:
                _try(source)
            else:
                texts[name] = _text(_compiled(source), request.row)
        except Exception as error:  # whatever filters and operators raise: the template is the client's
            return {"failed": name, "reason": _reason(error), "missing": isinstance(error, UndefinedError)}
    return {"texts": texts}


def _try(source: str) -> None:
    """Raises what no row could prevent."""
    template = _environment(ChainableUndefined).from_string(source)
    try:
        _text(template, {})
    except (_TooLong, MemoryError, RecursionError):
        raise
    except Exception:  # it may be the fault of the fields, which are empty
        return


def _reason(error: Exception) -> str:
    match error:
        case _TooLong():
            return f"its text is longer than {TEXT_CHARACTERS} characters"
        case MemoryError():
            return f"it needs more than {MEMORY_BYTES >> 20} MiB of memory"
        case RecursionError():
            return "it is nested too deeply"
        case TemplateSyntaxError():
            return f"line {error.lineno}: {_brief(error.message)} ({_HINT})"
        case TemplateError():
            return _brief(error.message)
        case _:
            return _brief(str(error)) or type(error).__name__


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    return _environment(StrictUndefined).from_string(source)


def _environment(undefined: type[Undefined]) -> ImmutableSandboxedEnvironment:
    # Unoptimised: less is computed while it is compiled, where the sandbox does not watch.
    environment = ImmutableSandboxedEnvironment(undefined=undefined, optimized=False, cache_size=0)
    environment.globals = {name: environment.globals[name] for name in _GLOBALS}
    return environment


def _text(template: Template, row: Row) -> str:
    pieces: list[str] = []
    length = 0
    for piece in template.generate({**row, "row": row}):
        length += len(piece)
        if length > TEXT_CHARACTERS:
            raise _TooLong
        pieces.append(piece)
    return "".join(pieces)


def _brief(reason: str | None) -> str:
    return " ".join((reason or "").split())[:300]


if __name__ == "__main__":
    main()
