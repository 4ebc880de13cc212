"""`tutti pull`, `tutti rm` and `tutti local`: the model weights on this machine. No server is needed."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import filelock
import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog, models_folder
from tutti.catalog.describe import describe
from tutti.catalog.entries import BrokenCatalogue, check_model
from tutti.catalog.manifest import NAME, folder_size_bytes, read_manifest
from tutti.catalog.pull.progress import PullProgress, Report
from tutti.catalog.pull.pull import lock_path
from tutti.catalog.pull.pull import pull as pull_model
from tutti.catalog.sources.base import PullFailed
from tutti.cli import flags
from tutti.cli.flags import DataDir
from tutti.cli.options import AsJson
from tutti.cli.output import write_json, write_table
from tutti.meeting.router import Table as Replicas
from tutti.meeting.router import of_model
from tutti.parts.engines import ENGINES
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate

CatalogFile = Annotated[
    Path | None,
    typer.Option("--catalog", help="Your own catalogue file (TUTTI_CATALOG).", show_default=False),
]


def pull(
    name: Annotated[
        str, typer.Argument(help="A catalogue name, owner/repo[:QUANT], or a local file or folder.")
    ],
    public_name: Annotated[
        str, typer.Option("--name", help="The name that clients use for the model.", show_default=False)
    ] = "",
    data_dir: DataDir = None,
    catalog: CatalogFile = None,
) -> None:
    """Download a model. Run it again to continue an interrupted download."""
    _run(_pull(flags.settings(data_dir=data_dir, catalog=catalog), name, public_name))


def rm(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    data_dir: DataDir = None,
    catalog: CatalogFile = None,
) -> None:
    """Delete a model's weights from this machine, and its entry if `tutti pull` added it. Refused while a
    running server has it loaded."""
    _run(_remove(flags.settings(data_dir=data_dir, catalog=catalog), name))


def local(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the models on this machine."""
    models = [_found(it) for it in sorted(models_folder(flags.settings(data_dir=data_dir)).glob("[!.]*"))]
    if as_json:
        write_json(models)
        return
    rows = [(it["model"], f"{it['bytes'] / 1e6:,.0f} MB", it["state"], it["folder"]) for it in models]
    write_table(("MODEL", "SIZE", "STATE", "FOLDER"), rows)


def _found(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    return {
        "model": manifest.model if manifest else folder.name.replace("--", "/"),
        "bytes": folder_size_bytes(folder),
        "state": "complete" if manifest else "partial",
        "folder": str(folder),
    }


def _run(work: Coroutine[Any, Any, None]) -> None:
    console = Console(stderr=True)
    try:
        asyncio.run(work)
    except (PullFailed, BrokenCatalogue, TuttiError, ValueError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interrupt:
        console.print("Stopped. Run the same command again to continue.")
        raise typer.Exit(130) from interrupt


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[tuple[Catalog, Database]]:
    database = await Database.open(database_url(settings))
    try:
        await migrate(database)
        yield Catalog(settings, database), database
    finally:
        await database.close()


async def _pull(settings: Settings, name: str, public_name: str) -> None:
    async with _opened(settings) as (catalog, _):
        known = await catalog.find(name)
        model = known or await describe(name, settings, ENGINES)
        if public_name:
            model = msgspec.structs.replace(model, name=public_name)
        if known is None or public_name:
            await catalog.add(model)
        folder = catalog.folder(model)
        with _bar(model.name) as bar:
            await pull_model(model, folder, settings, ENGINES, bar)
    Console().print(f"{model.name} is in {folder}", highlight=False, soft_wrap=True)


@contextmanager
def _bar(name: str) -> Generator[Report]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    text = TextColumn("{task.fields[state]:<11} {task.description}", markup=False)
    with Progress(text, *columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None, state="waiting")

        def show(at: PullProgress) -> None:
            progress.update(task, completed=at.done_bytes, total=at.total_bytes or None, state=at.state)

        yield show


async def _remove(settings: Settings, name: str) -> None:
    async with _opened(settings) as (catalog, database):
        model = Model(name=name, type="chat", engine="")
        check_model(model)
        folder = catalog.folder(model)
        if not folder.exists() and await catalog.find(name) is None:
            raise PullFailed(f"there is no model {name!r}")
        if state := await _replica_state(database, model):
            raise PullFailed(f"{name} is in use: a running server has it {state}; stop the server first")
        await asyncio.to_thread(_delete, folder)
        await catalog.remove(name)
    Console().print(f"{name} is deleted", highlight=False, soft_wrap=True)


async def _replica_state(database: Database, model: Model) -> str:
    """Return the state of the model's replica on a live node, or an empty string."""
    replicas = Replicas(database)
    try:
        found = of_model(await replicas.read(), model)
    finally:
        await replicas.close()
    return next((it.state for it in found if it.state != "failed"), "")


def _delete(folder: Path) -> None:
    lock = filelock.FileLock(lock_path(folder))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise PullFailed(f"{folder.name} is being pulled by another process") from error
    try:
        # first, so that a half-deleted folder does not count as a model
        (folder / NAME).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
    finally:
        lock.release()
