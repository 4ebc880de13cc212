"""The HTTP server of a sandbox host, for the API workers of this machine. The token grants access to all
projects.

    POST /execute    takes a `Call`. 200: the API's ExecuteResponse; 404: no such session on this host
    POST /sessions   takes a project's id. 200: a list of `sessions` of the API's SessionListResponse
    POST /end        takes an `Ending`. 200: `Ended`; 404: no such session on this host
    GET /health      for the controller

Request bodies are MessagePack, answers JSON. An answer with another status is a `Refused`. An execution runs
for as long as its connection is open."""

import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from tutti.base.errors import CannotSandbox, NotFound, TuttiError, Unauthenticated
from tutti.meeting.sandbox_calls import Call, Ended, Ending, Refused, failed
from tutti.sandboxes.entry import Entry
from tutti.sandboxes.session import Output
from tutti.sandboxes.sessions import SessionGone, Sessions, UnknownSession

_ADDRESS = "127.0.0.1"
_STOP_S = 0.1
_Json = dict[str, Any]


@asynccontextmanager
async def serving(sessions: Sessions, token: str, max_body_bytes: int) -> AsyncGenerator[str]:
    """Serve HTTP while the context is open, and yield the base URL. A client that disconnects cancels its
    request."""
    runner = web.AppRunner(
        _application(sessions, token, max_body_bytes),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_STOP_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, _ADDRESS, 0).start()
        yield f"http://{_ADDRESS}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _application(sessions: Sessions, token: str, max_body_bytes: int) -> web.Application:
    authorization = f"Bearer {token}".encode()

    def guarded(answer: Callable[[bytes], Awaitable[Any]]) -> Callable[..., Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
                if not hmac.compare_digest(given, authorization):
                    raise Unauthenticated("The token of this sandbox host is required.")
                return _json(await answer(await request.read()))
            except TuttiError as error:
                refused = Refused(error.message, error.code, error.retry_after_s)
                return _json(refused, error.status)

        return handle

    async def execute(body: bytes) -> _Json:
        try:
            entry, outputs = await sessions.execute(msgspec.msgpack.decode(body, type=Call))
        except UnknownSession as error:
            raise NotFound("There is no such session here.") from error
        except (SessionGone, CannotSandbox) as error:
            return failed(str(error))
        return _executed(entry, outputs)

    async def end(body: bytes) -> Ended:
        wanted = msgspec.msgpack.decode(body, type=Ending)
        try:
            sessions.end(wanted.project_id, wanted.session_id)
        except UnknownSession as error:
            raise NotFound("There is no such session here.") from error
        except SessionGone as error:
            return Ended(str(error))
        return Ended()

    async def listed(body: bytes) -> list[_Json]:
        return [_session_info(entry) for entry in sessions.listed(msgspec.msgpack.decode(body, type=str))]

    async def health(_: web.Request) -> web.Response:
        return _json({"status": "ok"})

    app = web.Application(client_max_size=max_body_bytes)
    app.add_routes(
        [
            web.post("/execute", guarded(execute)),
            web.post("/sessions", guarded(listed)),
            web.post("/end", guarded(end)),
            web.get("/health", health),
        ]
    )
    return app


def _executed(entry: Entry, outputs: Sequence[Output]) -> _Json:
    """Build a SuccessfulExecution of the API. It is used for code that raised an error, too."""
    return {
        "data": {"session_id": entry.id, "status": "success", "outputs": outputs},
        "errors": None,
    }


def _session_info(entry: Entry) -> _Json:
    return {
        "id": entry.id,
        "execute_count": entry.execute_count,
        "started_at": _time(entry.started_at),
        "last_execute_at": _time(entry.last_execute_at),
        "expires_at": _time(entry.expires_at),
    }


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
