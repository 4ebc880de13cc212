"""The parts that API workers and job workers have in common: everything that features work with, opened and
closed."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.dispatch.dispatch import Dispatch
from tutti.dispatch.grammars import Grammars
from tutti.dispatch.interpreter import Interpreter
from tutti.dispatch.meter import Meter
from tutti.fetch.fetch import Fetcher
from tutti.parts.engines import ENGINES
from tutti.platform import Platform
from tutti.store.blobs import Blobs
from tutti.store.db import Database, database_url
from tutti.store.migrate import migrate


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncGenerator[Database]:
    """Open the database with the newest schema."""
    database = await Database.open(database_url(settings))
    try:
        await migrate(database)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_platform(
    settings: Settings,
    database: Database,
    *,
    spent: Callable[[str, int], None] | None = None,
    background: bool = False,
) -> AsyncGenerator[Platform]:
    """Open the platform. On leaving, the usage counted so far is written. `spent` is called with key id and
    tokens of each request. `background`: live requests go first."""
    async with AsyncExitStack() as parts:
        meter = Meter(database, spent, background=background)
        await meter.start()
        parts.push_async_callback(meter.close)
        catalog = Catalog(settings, database)
        dispatch = Dispatch(settings, database, catalog, ENGINES, background=background)
        await dispatch.start()
        parts.push_async_callback(dispatch.close)
        interpreter = Interpreter(settings, database)
        parts.callback(interpreter.close)
        grammars = Grammars()
        parts.push_async_callback(grammars.close)
        blobs = Blobs.open(settings)
        yield Platform(
            settings, database, blobs, catalog, ENGINES, dispatch, meter, Fetcher(), interpreter, grammars
        )
