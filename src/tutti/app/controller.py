"""`tutti serve`: the process that starts and watches all others of this node; it serves no request itself."""

import asyncio
import signal
import sys

from tutti.app.reservation import CannotStart, held_data_dir, held_port
from tutti.app.workers import start_workers
from tutti.base.address import is_loopback
from tutti.base.settings import Settings
from tutti.process.supervisor import Supervisor


def serve(settings: Settings) -> int:
    """Serve until the server is stopped, and return the exit status: 0 after a clean drain, 1 if it could not
    start or had to be cut short."""
    try:
        return asyncio.run(_serve(settings))
    except CannotStart as error:
        sys.stderr.write(f"tutti serve: {error}\n")
        return 1


async def _serve(settings: Settings) -> int:
    stop = _Stop()
    with held_data_dir(settings):
        async with held_port(settings) as port:
            settings = settings.model_copy(update={"port": port})
            if not is_loopback(settings.host):
                await _require_key(settings)
            workers = await start_workers(settings)
            try:
                return await _run(settings, workers, stop)
            finally:
                workers.kill()
                await workers.stop()


class _Stop:
    """SIGTERM or Ctrl-C asks for a drain; a second one insists on ending now."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


async def _require_key(settings: Settings) -> None:
    from tutti.app.node import require_key  # noqa: PLC0415 - seldom needed before the workers

    await require_key(settings)


async def _run(settings: Settings, workers: Supervisor, stop: _Stop) -> int:
    """Run the node. Its import takes half a second: the API workers, begun before, start on another core
    meanwhile."""
    from tutti.app.node import run  # noqa: PLC0415 - imports while the workers start

    return await run(settings, workers, stop.asked, stop.insisted)
