"""The base of all workers that serve HTTP: command line, /health and /progress, error bodies, event loop."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

_MAX_BODY_BYTES = 64 * 1024 * 1024


class Refused(Exception):
    """The request cannot be served as it is. The message is for the client; `param` names the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def parser(name: str) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog=name)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--threads", type=int, default=1)
    return arguments


def application(routes: Iterable[web.RouteDef], progress: Callable[[], Mapping[str, int]]) -> web.Application:
    """Return an application with the routes, GET /progress and GET /health.

    `progress` returns `busy` (running requests) and `done` (a count that grows with the work). A Refused that
    a route raises, and JSON that does not match its type, are answered with status 400.
    """

    async def report(_: web.Request) -> web.Response:
        return answer(progress())

    async def health(_: web.Request) -> web.Response:
        return answer({"status": "ok"})

    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors])
    app.add_routes([*routes, web.get("/progress", report), web.get("/health", health)])
    return app


def run(app: web.Application, port: int) -> None:
    """Serve on the loopback address until a signal stops the process.

    A client that leaves cancels its handler.
    """
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def refusal(error: Refused, status: int = 400) -> web.Response:
    """Return the error as the API's error body."""
    body = {"message": str(error), "type": "invalid_request_error", "param": error.param, "code": error.code}
    return answer({"error": body}, status)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return refusal(refused)
    except msgspec.MsgspecError as error:
        return refusal(Refused(str(error)))
