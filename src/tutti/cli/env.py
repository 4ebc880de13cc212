"""`tutti env`: the Python environments of the code interpreter. No server is needed."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tutti.cli import flags
from tutti.cli.flags import DataDir
from tutti.cli.output import note, write, write_table
from tutti.sandboxes.environment import (
    NotMade,
    Progress,
    environment_folder,
    environments_folder,
    is_being_made,
    is_made,
    make,
    read_progress,
    remove,
)

app = typer.Typer(
    help="Manage the code interpreter's Python environments.", no_args_is_help=True, add_completion=False
)


@app.command("make")
def make_(data_dir: DataDir = None) -> None:
    """Make the code interpreter's environment now, so that its first user does not have to wait."""
    with Console(stderr=True).status("waiting") as status:

        def show(progress: Progress) -> None:
            status.update(str(progress))

        try:
            folder = asyncio.run(make(flags.settings(data_dir=data_dir).data_dir, show))
        except NotMade as error:
            note(error.message)
            raise typer.Exit(1) from error
    write(f"{folder}\n")


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """List the environments on this machine. Those marked `old` are of earlier versions and can be
    deleted."""
    settings = flags.settings(data_dir=data_dir)
    current = environment_folder(settings.data_dir)
    folders = sorted(environments_folder(settings.data_dir).glob("[!.]*"))
    write_table(
        ("NAME", "SIZE", "STATE", "FOLDER"),
        [(it.name, f"{_size_bytes(it) / 1e6:,.0f} MB", _state(it, current), it) for it in folders],
    )


@app.command("rm")
def rm(
    name: Annotated[str, typer.Argument(help="The environment's name, as `tutti env list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """Delete an environment that no server uses. The current one is made again when it is needed."""
    folders = environments_folder(flags.settings(data_dir=data_dir).data_dir).glob("[!.]*")
    folder = next((it for it in folders if it.name == name), None)
    if folder is None:
        note(f"there is no environment {name!r}")
        raise typer.Exit(1)
    try:
        remove(folder)
    except BlockingIOError as error:
        note(f"{name} is in use: stop the server, or the command that makes it, first")
        raise typer.Exit(1) from error
    write(f"{name} is deleted\n")


def _state(folder: Path, current: Path) -> str:
    if is_made(folder):
        return "complete" if folder == current else "old"
    return str(read_progress(folder)) if is_being_made(folder) else "partial"


def _size_bytes(folder: Path) -> int:
    return sum(it.lstat().st_size for it in folder.rglob("*") if not it.is_dir())
