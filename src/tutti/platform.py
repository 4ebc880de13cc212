"""Everything that a feature may use. `app` fills it; tests may fill it with other real parts."""

from dataclasses import dataclass

from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog
from tutti.dispatch.dispatch import Dispatch
from tutti.dispatch.grammars import Grammars
from tutti.dispatch.interpreter import Interpreter
from tutti.dispatch.meter import Meter
from tutti.engines.base import Engines
from tutti.fetch.fetch import Fetcher
from tutti.store.blobs import Blobs
from tutti.store.db import Database


@dataclass(frozen=True)
class Platform:
    settings: Settings
    database: Database
    blobs: Blobs
    catalog: Catalog
    engines: Engines
    dispatch: Dispatch
    meter: Meter
    fetcher: Fetcher
    interpreter: Interpreter
    grammars: Grammars
