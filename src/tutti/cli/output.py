"""The output of commands: answers on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def write(text: str) -> None:
    """Write a piece of an answer to stdout immediately and unchanged."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(value: Any, *, indent: int | None = 2) -> None:
    write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print padded columns. In a pipe nothing is cut, so that `grep` finds it."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(table)


def note(text: str) -> None:
    sys.stderr.write(f"tutti: {text}\n")
    sys.stderr.flush()
