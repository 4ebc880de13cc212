"""`python -m tutti.workers.echo --port P`."""

import asyncio
import signal
import time

import uvloop

from tutti.workers.echo.app import App
from tutti.workers.echo.options import Options, parse
from tutti.workers.echo.server import Connection


def main() -> None:
    options = parse()
    ballast = b"\1" * options.memory_bytes  # touched, so that it is resident
    time.sleep(options.start_delay_s)
    uvloop.run(_serve(options))
    del ballast


async def _serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    app = App(options)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await loop.create_server(lambda: Connection(app.answer), options.host, options.port, backlog=4096)
    await ended.wait()


if __name__ == "__main__":
    main()
