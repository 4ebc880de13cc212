"""`tutti serve`. Its flags are made from the settings, so that each setting is declared once."""

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from pydantic.fields import FieldInfo

from tutti.app.controller import serve as run_server
from tutti.base.settings import Settings
from tutti.cli import flags
from tutti.cli.flags import flag

_HINTS = {
    "models": "Can be repeated.",
    "aliases": "Written as 'name=model'. Can be repeated.",
    "voice_aliases": "Written as 'name=voice'. Can be repeated.",
    "memory_budget_bytes": "Such as 8G or 500M.",
}
_PANELS: Sequence[tuple[str, str]] = (
    (r"host|port|workers|cors_.*", "Network"),
    (r"models|aliases|.*_aliases|catalog|pull_on_use|hub_.*", "Models"),
    (r"threads|vllm_.*|hang_.*|memory_.*", "Engines"),
    (r"data_dir|database_.*|blob_.*", "Where data is kept"),
    (r"load_wait_s|early_.*|stall_.*|drain_.*", "Waiting"),
    (r"max_.*|project_.*|.*_per_minute|socket_.*", "Limits"),
    (r"job_.*", "Jobs"),
    (r"interpreter_.*", "Code interpreter"),
)
"""Patterns of the names of settings, and the panel of the help in which they are shown."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def serve(**given: Any) -> None:
    """Start the server. It downloads and loads the models, and serves until Ctrl-C. Then it finishes running
    requests and stops everything that it has started.

    Each flag is also an environment variable, TUTTI_<NAME OF THE SETTING>. The credentials TUTTI_SECRET and
    TUTTI_HUB_TOKEN can only be set as environment variables. Times are in seconds."""
    values = {name: _read(name, value) for name, value in given.items() if value not in (None, [], ())}
    raise typer.Exit(run_server(flags.settings(**values)))


def size(text: str) -> int:
    """Parse a size in bytes. K, M, G and T are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size such as 8G.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def alias(text: str) -> tuple[str, str]:
    name, equals, meant = text.rpartition("=")
    if not (equals and name and meant):
        raise typer.BadParameter(f"{text!r} is not of the form name=meaning.")
    return name, meant


def _read(name: str, value: Any) -> Any:
    if name in ("aliases", "voice_aliases"):
        return dict(alias(text) for text in value)
    return size(value) if name == "memory_budget_bytes" else value


def _parameters() -> Iterator[inspect.Parameter]:
    for name, field in Settings.model_fields.items():
        if field.repr:
            yield inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name, field)
            )


def _annotation(name: str, field: FieldInfo) -> Any:
    help_text = f"{field.description} {_HINTS.get(name, '')}".strip()
    option = typer.Option(
        flag(name),
        *_negative(name, field),
        help=help_text,
        show_default=_default(field),
        rich_help_panel=_panel(name),
    )
    return Annotated[_type(name, field), option]  # pyright: ignore[reportInvalidTypeForm] # made at run time


def _panel(name: str) -> str:
    return next((panel for names, panel in _PANELS if re.fullmatch(names, name)), "Other")


def _negative(name: str, field: FieldInfo) -> list[str]:
    return [f"/--no-{name.replace('_', '-')}"] if field.annotation is bool else []


def _type(name: str, field: FieldInfo) -> Any:
    if name in ("models", "aliases", "voice_aliases"):
        return list[str] | None
    if name == "memory_budget_bytes":
        return str | None
    return Path | None if field.annotation == (Path | None) else field.annotation | None  # type: ignore


def _default(field: FieldInfo) -> bool | str:
    default: Any = field.get_default(call_default_factory=True)
    shown = ", ".join(cast(list[str], default)) if isinstance(default, list | dict) else str(default)
    return shown if default not in (None, "") and shown else False


serve.__signature__ = inspect.Signature([*_parameters()])  # pyright: ignore[reportFunctionMemberAccess]
serve.__annotations__ = {it.name: it.annotation for it in _parameters()}
