"""What the commands share that work on this machine's data, without a server."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tutti.base.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="As of `tutti serve` (TUTTI_DATA_DIR).", show_default=False)
]


def settings(**flags: Any) -> Settings:
    """Flags before the environment, as for `tutti serve`; None is no flag."""
    return Settings(**{name: value for name, value in flags.items() if value is not None})
