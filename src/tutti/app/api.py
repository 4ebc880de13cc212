"""The API worker: one process, one socket, no state of its own. Run as `python -m tutti.app.api`, with the
settings in the environment."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn
import uvloop
from starlette.types import ASGIApp

from tutti.access.limits import Limits
from tutti.app.platform import open_database, open_platform
from tutti.app.protocol import Protocol
from tutti.app.sockets import OPTIONS
from tutti.app.standstill import watched
from tutti.base.clock import monotonic_s
from tutti.base.settings import Settings
from tutti.http import server
from tutti.parts.features import CHANNELS, FEATURES, ROOT_FEATURES
from tutti.process import logs, metrics

BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than clients and proxies keep idle connections (httpx 5 s, nginx 60 s): a client whose connection
the server closes in the moment in which it sends a request gets an error."""
STANDSTILL_S = 10.0
"""A loop that stands still for so long is ended, with its process: it serves nobody meanwhile."""
_TICKS_A_SECOND = 10
"""The same as uvicorn's."""


@asynccontextmanager
async def application(settings: Settings) -> AsyncGenerator[ASGIApp]:
    """Open everything that requests need. On leaving, the usage counted so far is written and everything is
    closed."""
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(open_database(settings))
        limits = Limits(database)
        await limits.start()
        parts.push_async_callback(limits.close)
        platform = await parts.enter_async_context(open_platform(settings, database, spent=limits.spent))
        yield server.build(
            [router(platform) for router in FEATURES],
            root_routers=[router(platform) for router in ROOT_FEATURES],
            channels=CHANNELS,
            settings=settings,
            database=database,
            limits=limits,
        )


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket with SO_REUSEPORT, so that the kernel spreads connections over the workers."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, which also ends requests that stall, and drains."""

    def __init__(self, config: uvicorn.Config, stall_timeout_s: float) -> None:
        super().__init__(config)
        self._stall_timeout_s = stall_timeout_s

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_SECOND == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.look(self._stall_timeout_s)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: go on listening while requests run, so that new ones are told that this server is
        draining."""
        self.lifespan.state["draining"] = True  # the state of every request begins as a copy of this
        for connection in list(self.server_state.connections):
            connection.shutdown()
        running = set(self.server_state.tasks)
        give_up_at = monotonic_s() + (self.config.timeout_graceful_shutdown or 0)
        while running and (left_s := give_up_at - monotonic_s()) > 0:
            _, running = await asyncio.wait(running, timeout=min(left_s, 1.0))
            await self.on_tick(0)
        self.config.timeout_graceful_shutdown = max(0, round(give_up_at - monotonic_s()))
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals as uvicorn does, but do not raise the signal again at the end: there is more to
        close."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then running requests may finish within `drain_timeout_s`."""
    listener = listen(settings.host, settings.port)
    metrics.STARTS.inc()
    async with application(settings) as app:
        gc.freeze()  # what the imports have made stays: no collection has to look at it again
        config = uvicorn.Config(
            app,
            **OPTIONS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(settings.drain_timeout_s),
        )
        async with watched(settings.data_dir, STANDSTILL_S):
            await Server(config, settings.stall_timeout_s).serve([listener])


def main() -> int:
    settings = Settings()  # pyright: ignore[reportCallIssue] # the environment has the values
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
