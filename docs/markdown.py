"""Pages and tables."""

import inspect
from collections.abc import Iterable, Sequence

_NOTE = "<!-- Made by `make docs` from the code; not to be edited. -->"


def page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _NOTE, *parts)) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def told(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split())
