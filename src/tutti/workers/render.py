"""Renders the clients' Jinja templates in a process that may crash: `python -m tutti.workers.render CPU_S`.

It reads requests from stdin and writes answers to stdout, one at a time. A message is 4 bytes of length, then
JSON:

    {"templates": {name: source}, "row": {field: value}}      without a row the templates are only tried out
    {"texts": {name: text}}   or   {"failed": name, "reason": "...", "missing": true if a field is missing}

A template sees each field of the row under its name, and all of them as `row`. Jinja's sandbox keeps a
template away from Python, and the limits keep it from using up the machine. The kernel enforces them: a long
multiplication or regular expression that exceeds its CPU time ends the process. Compiling counts too, because
Jinja computes constant expressions while it compiles. To try a template out is to compile it and to render it
as if every field were empty: if it exceeds the limits even then, it is reported. The process also ends when
its parent closes the pipe.
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
    """The rendered text is longer than TEXT_CHARACTERS."""


def main() -> None:
    limit_to(MEMORY_BYTES)
    answer_all(_answer_json, cpu_s=float(sys.argv[1]))  # for all templates of one message


def _answer_json(question: bytes) -> bytes:
    return msgspec.json.encode(_answer(msgspec.json.decode(question, type=_Request)))


def _answer(request: _Request) -> Mapping[str, Any]:
    texts: dict[str, str] = {}
    for name, source in request.templates.items():
        try:
            if request.row is None:
                _try_out(source)
            else:
                texts[name] = _text(_compiled(source), request.row)
        except Exception as error:  # whatever filters and operators raise: the template is the client's
            return {"failed": name, "reason": _reason(error), "missing": isinstance(error, UndefinedError)}
    return {"texts": texts}


def _try_out(source: str) -> None:
    """Compile and render the template, and raise the errors that it would raise with any row."""
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
    # Not optimised: so less is computed during compilation, which Jinja's sandbox does not check.
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
