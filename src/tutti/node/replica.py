"""The workload that serves a model: its weights, its engine, and the adapters on it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tutti.base.errors import LoadFailed
from tutti.base.model import Model
from tutti.base.program import Program, Share
from tutti.base.settings import Settings
from tutti.catalog.catalog import Catalog, folder_name
from tutti.catalog.manifest import folder_size_bytes
from tutti.catalog.sources.base import PullFailed
from tutti.engines.base import Engine, Engines
from tutti.engines.place import Adapter, Place
from tutti.meeting.wants import key_of
from tutti.node.adapters import Adapters
from tutti.node.workload import CannotRun, Gauge, Site, Tell, Workload

if TYPE_CHECKING:
    from tutti.catalog.pull.progress import PullProgress

_REPORT_S = 0.5


class Replica(Workload):
    """A model on its engine. `may_pull` is called when its weights have to be downloaded."""

    preparing = "pulling"

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        engines: Engines,
        model: Model,
        *,
        may_pull: Callable[[], bool],
    ) -> None:
        super().__init__(key_of(model), msgspec.to_builtins(model))
        self.model = model
        self.adapters = Adapters()
        self.pulled: PullProgress | None = None
        self.slots = 1
        self._settings = settings
        self._catalog = catalog
        self._engines = engines
        self._may_pull = may_pull

    @property
    def columns(self) -> Mapping[str, Any]:
        return {"slots": self.slots}

    @property
    def log_name(self) -> str:
        return folder_name(self.model)

    # --- its weights ----------------------------------------------------------------------------------

    async def prepare(self, tell: Tell) -> None:
        if self.model.adapter_of is not None:
            raise CannotRun(f"there is no model {self.model.adapter_of} any more")
        if not self._catalog.is_pulled(self.model):
            await self._pull(tell)
        self.slots = self._engine.slots(self.model)

    async def _pull(self, tell: Tell) -> None:
        if not self._may_pull():
            raise CannotRun(f"its weights are not here; `tutti pull {self.model.name}` fetches them")
        # An HTTP client is a tenth of the controller's memory, and most servers never need one.
        from tutti.catalog.pull.pull import pull  # noqa: PLC0415 - see above

        folder = self._catalog.folder(self.model)
        reporting = asyncio.create_task(self._report_pull(tell))
        try:
            await pull(self.model, folder, self._settings, self._engines, self._pull_moved)
        except PullFailed as error:
            raise CannotRun(str(error)) from error
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def _pull_moved(self, progress: "PullProgress") -> None:
        self.pulled = progress

    async def _report_pull(self, tell: Tell) -> None:
        while True:
            await tell(_pull_text(self.pulled))
            await asyncio.sleep(_REPORT_S)

    # --- its engine -----------------------------------------------------------------------------------

    @property
    def gauge(self) -> Gauge:
        return Gauge(self._engine.progress_path, self._engine.progress)

    def share(self, whole: Share) -> Share | None:
        program = self._engine.program(self.model, self._place(Site(0, tuple(range(whole.gpus)), 1)))
        if program is None:
            return None
        folder = self._catalog.folder(self.model)
        memory_bytes = self._engine.memory_bytes(self.model) or folder_size_bytes(folder)
        return Share(memory_bytes, program.gpus)

    def address(self) -> str:
        return self._engine.address(self.model)

    def program(self, site: Site) -> Program:
        self.adapters.take()
        try:
            program = self._engine.program(self.model, self._place(site))
        except LoadFailed as error:
            if not self.has_adapted(str(error)):
                raise
            return self.program(site)
        if program is None:
            raise CannotRun("its engine has nothing to run any more")
        return program

    @property
    def _engine(self) -> Engine:
        engine = self._engines.get(self.model.engine)
        if engine is None:
            raise CannotRun(f"this server has no engine {self.model.engine}")
        return engine

    def _place(self, site: Site) -> Place:
        return Place(
            folder=self._catalog.folder(self.model),
            port=site.port,
            threads=site.threads,
            gpus=site.gpus,
            vllm_python=self._settings.vllm_python,
            hub_token=self._settings.hub_token,
            adapters=tuple(Adapter(it, self._catalog.folder(it)) for it in self.adapters.loaded),
        )

    # --- its adapters ---------------------------------------------------------------------------------

    def became_ready(self) -> None:
        self.adapters.proved()

    def changed(self) -> None:
        self.adapters.tell()

    async def outgrows(self) -> str:
        while self.adapters.complete:
            await self.adapters.next_change().wait()
        return "finishing requests, to start again with another adapter"

    def has_adapted(self, last_words: str) -> bool:
        """Leave out the adapters that the engine has never run with: they are taken to be the cause."""
        return self.adapters.refuse(last_words)


def _pull_text(progress: "PullProgress | None") -> str:
    if progress is None or not progress.total_bytes:
        return "pulling" if progress is None else progress.state
    percent = 100 * progress.done_bytes // progress.total_bytes
    return f"{progress.state} {percent}% of {progress.total_bytes / 1e6:.0f} MB"
