"""The sessions over HTTP, for the API workers of this machine: whoever has the token speaks for any project.

    POST /execute    a `Call`. 200: the API's ExecuteResponse; 404: there is no such session here
    POST /sessions   a project's id. 200: a list of `sessions` of the API's SessionListResponse
    POST /end        an `Ending`. 200: `Ended`; 404: there is no such session here
    GET /health      for the controller

Requests are MessagePack, answers JSON; other answers are `Refused`. An execution goes on for as long as its
connection is open.
"""

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
from tutti.sandboxes.sessions import Gone, Sessions, Unknown

_ADDRESS = "127.0.0.1"
_STOP_S = 0.1
_Json = dict[str, Any]


@asynccontextmanager
async def serving(sessions: Sessions, token: str, max_body_bytes: int) -> AsyncGenerator[str]:
    """At the address that it gives. A client that leaves cancels its request."""
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
        except Unknown as error:
            raise NotFound("There is no such session here.") from error
        except (Gone, CannotSandbox) as error:
            return failed(str(error))
        return _executed(entry, outputs)

    async def end(body: bytes) -> Ended:
        wanted = msgspec.msgpack.decode(body, type=Ending)
        try:
            sessions.end(wanted.project_id, wanted.session_id)
        except Unknown as error:
            raise NotFound("There is no such session here.") from error
        except Gone as error:
            return Ended(str(error))
        return Ended()

    async def listed(body: bytes) -> list[_Json]:
        return [_shown(it) for it in sessions.listed(msgspec.msgpack.decode(body, type=str))]

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
    """SuccessfulExecution: also of code that went wrong."""
    return {
        "data": {"session_id": entry.id, "status": "success", "outputs": outputs},
        "errors": None,
    }


def _shown(entry: Entry) -> _Json:
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
