"""`tutti keys`: works on the database directly, because the first key cannot be made with a key."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from tutti.access.keys import NewKey, create_key, list_keys, project_named, revoke_key, server_secret
from tutti.base.errors import TuttiError
from tutti.base.settings import Settings
from tutti.cli import flags
from tutti.cli.flags import DataDir
from tutti.cli.options import AsJson
from tutti.cli.output import note, write, write_json, write_table
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate
from tutti.store.records import ApiKey

T = TypeVar("T")

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="URL of the server's PostgreSQL database.", show_default="SQLite in the data directory"
    ),
]

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, add_completion=False)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "default",
    project: Annotated[
        str, typer.Option(help="Slug of the key's project, which is made if it does not exist.")
    ] = "default",
    requests_per_minute: Annotated[
        int, typer.Option(min=0, help="Rate limit; 0 means the server's default.")
    ] = 0,
    tokens_per_minute: Annotated[
        int, typer.Option(min=0, help="Rate limit; 0 means the server's default.")
    ] = 0,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown only once, because only a hash of it is kept."""
    settings = flags.settings(data_dir=data_dir, database_url=database_url)

    async def make(database: Database) -> NewKey:
        return await create_key(
            database,
            server_secret(settings),
            name,
            project_id=(await project_named(database, project)).id,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )

    made = _run(settings, make)
    if as_json:
        write_json({**_as_json(made.record), "key": made.secret})
        return
    write(made.secret + "\n")
    note(f"this is {made.record.id} ({name}); save it now: it is not shown again")


@app.command("list")
def list_(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List all keys, including revoked ones."""
    keys = _run(flags.settings(data_dir=data_dir, database_url=database_url), list_keys)
    if as_json:
        write_json([_as_json(key) for key in keys])
        return
    columns = ("ID", "NAME", "KEY", "PROJECT", "REQUESTS/MIN", "TOKENS/MIN", "CREATED", "REVOKED")
    write_table(columns, _table(keys))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `tutti keys list` shows it.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key. Servers refuse it within a second."""
    key = _run(
        flags.settings(data_dir=data_dir, database_url=database_url),
        lambda database: revoke_key(database, key_id),
    )
    if as_json:
        write_json(_as_json(key))
    else:
        note(f"revoked {key.id} ({key.name})")


def _run(settings: Settings, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        database = await Database.open(database_url(settings))
        try:
            await migrate(database)
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except TuttiError as error:
        note(error.message)
        raise typer.Exit(1) from None


def _as_json(key: ApiKey) -> Mapping[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "project_id": key.project_id,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _table(keys: Sequence[ApiKey]) -> list[list[object]]:
    return [
        [
            key.id,
            key.name,
            f"{key.prefix}...",
            key.project_id,
            key.requests_per_minute or "-",
            key.tokens_per_minute or "-",
            _time(key.created_at),
            "-" if key.revoked_at is None else _time(key.revoked_at),
        ]
        for key in keys
    ]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
