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

from tutti.app.platform import open_database, open_platform
from tutti.app.sockets import OPTIONS
from tutti.base.settings import Settings
from tutti.http import logs, metrics, server
from tutti.http.limits import Limits
from tutti.parts.features import CHANNELS, FEATURES, ROOT_FEATURES

BACKLOG = 2048


@asynccontextmanager
async def application(settings: Settings) -> AsyncGenerator[ASGIApp]:
    """Opens everything that requests need; on leaving, what was counted is written and all is closed."""
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
    """With SO_REUSEPORT, so that the kernel spreads connections over the workers."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    return listener


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Unlike uvicorn's, this does not raise the signal again at the end: there is more to close."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; then running requests may finish within `drain_timeout_s`."""
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
            timeout_graceful_shutdown=round(settings.drain_timeout_s),
        )
        await Server(config).serve([listener])


def main() -> int:
    settings = Settings()  # pyright: ignore[reportCallIssue] # the environment has the values
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
