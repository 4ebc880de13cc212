"""HTTP servers on a real socket of the loopback address, in the test's own loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.patience import limit

from tutti.app.sockets import OPTIONS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answered_by(handle: Handler) -> AsyncIterator[str]:
    """Yield the base URL of a server where `handle` answers all requests."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app, host="127.0.0.1") as running:
        yield f"http://127.0.0.1:{running.port}"


def asking(url: str, key: str = "any", **options: Any) -> httpx.AsyncClient:
    """Return a client with a key. `verify=False` only saves the time of reading certificates."""
    headers = {"authorization": f"Bearer {key}", **options.pop("headers", {})}
    return httpx.AsyncClient(base_url=url, headers=headers, verify=False, timeout=limit(60), **options)


@asynccontextmanager
async def serve(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI application, and yield its base URL without a trailing slash."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        **OPTIONS,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
