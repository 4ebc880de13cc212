"""The options and settings of commands that work on this machine's data, without a server."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from tutti.base.settings import Settings
from tutti.cli.output import note

_NAMES = {
    "models": "--model",
    "aliases": "--alias",
    "voice_aliases": "--voice-alias",
    "memory_budget_bytes": "--memory-budget",
}

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="The data directory, as for `tutti serve` (TUTTI_DATA_DIR).", show_default=False
    ),
]


def settings(**flags: Any) -> Settings:
    """Read the settings from flags, then from the environment. A flag that is None counts as not given.

    The data directory is made if it does not exist. If a setting is wrong, print one line and exit."""
    try:
        found = Settings(**{name: value for name, value in flags.items() if value is not None})
        found.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except ValidationError as error:
        note("; ".join(_explained(str(it["loc"][0]), it["msg"]) for it in error.errors()))
        raise typer.Exit(1) from None
    except OSError as error:
        note(f"--data-dir: {error.filename} cannot be a folder: {error.strerror}")
        raise typer.Exit(1) from None
    return found


def flag(name: str) -> str:
    """Return the flag of a setting. The unit `_s` is left out."""
    return _NAMES.get(name, "--" + name.removesuffix("_s").replace("_", "-"))


def _explained(name: str, wrong: str) -> str:
    """Describe an error with the setting's description. The value is left out, since it may hold a
    password."""
    known = Settings.model_fields.get(name)
    return f"{flag(name)}: {wrong} ({known.description})" if known else f"{flag(name)}: {wrong}"
