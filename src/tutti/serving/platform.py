"""What a feature may use. The composition root fills it; tests may fill it with other real parts."""

from dataclasses import dataclass

from tutti.base.settings import Settings
from tutti.serving.catalog import Catalog
from tutti.serving.dispatch import Dispatch
from tutti.serving.fetch import Fetcher
from tutti.serving.grammars import Grammars
from tutti.serving.interpreter import Interpreter
from tutti.serving.meter import Meter
from tutti.store.blobs import Blobs
from tutti.store.db import Database


@dataclass(frozen=True)
class Platform:
    settings: Settings
    database: Database
    blobs: Blobs
    catalog: Catalog
    dispatch: Dispatch
    meter: Meter
    fetcher: Fetcher
    interpreter: Interpreter
    grammars: Grammars
