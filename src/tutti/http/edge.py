"""The outermost middleware: it does what every request needs, however the request ends.

It reads the path and the client's family, names the request, counts and logs it, and turns errors raised on
the way to the routes into an error body. There is one wrapper around `send`, since every chunk passes it.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutti.base.clock import monotonic_s
from tutti.base.ids import new_id
from tutti.http.cors import Cors
from tutti.http.errors import error_response, from_exception
from tutti.http.head import as_get
from tutti.http.paths import check_query, family, normalise
from tutti.http.sockets import refuse
from tutti.process import metrics
from tutti.process.logs import REQUEST_ID

CLIENT_GONE = 499
"""The status that is logged when there was nobody left to answer."""

_SWITCHING = 101

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

_PROBES = ("/livez", "/readyz", "/metrics")

log = logging.getLogger("tutti.access")


class Edge:
    """The middleware. It fills `scope["state"]` with `request_id`, `family`, `headers` (response headers that
    inner middleware may add to) and `send_more`: the way for the rest of a response after its head, past all
    the layers that only look at the head. Routes may put `model` there, for the access log."""

    def __init__(self, app: ASGIApp, cors: Cors) -> None:
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = metrics.arrive()
        headers = dict(scope["headers"])
        state = _name_request(scope, headers)
        state["send_more"] = send
        if b"origin" in headers:
            state["headers"].update(self._cors.headers(headers[b"origin"]))
        served, status = scope, 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_encoded(state["headers"])]
            await send(message)

        with metrics.IN_FLIGHT.track_inprogress():
            try:
                _find_path(scope, headers)
                served, answer = as_get(scope, reply) if scope["method"] == "HEAD" else (scope, reply)
                preflight = self._cors.preflight(headers) if scope["method"] == "OPTIONS" else None
                await (preflight or self._app)(served, receive, answer)
            except ClientDisconnect:
                status = CLIENT_GONE
            except Exception as exc:
                if not status:
                    await error_response(from_exception(exc))(scope, receive, reply)
                elif status != 500:
                    log.exception("failed after the response had begun")
            finally:
                _record(scope, served.get("route"), status or CLIENT_GONE, monotonic_s() - began)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, and log it when it ends. Until it is accepted, errors are sent from here; then
        the feature sends them."""
        began = monotonic_s()
        scope["method"] = "GET"
        headers = dict(scope["headers"])
        _name_request(scope, headers)
        status = 0

        async def reply(message: Message) -> None:
            nonlocal status
            status = status or (_SWITCHING if message["type"] == "websocket.accept" else CLIENT_GONE)
            await send(message)

        with metrics.IN_FLIGHT.track_inprogress():
            try:
                _find_path(scope, headers)
                await self._app(scope, receive, reply)
            except Exception as exc:
                error = from_exception(exc)
                if status:
                    status = error.status
                    raise
                status = await refuse(scope, receive, send, error)
            finally:
                _record(scope, scope.get("route"), status or CLIENT_GONE, monotonic_s() - began)


def _name_request(scope: Scope, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Give the request its id: the client's own, if it is harmless (it goes into headers and logs), or a new
    one."""
    given = headers.get(b"x-request-id", b"")
    request_id = given.decode() if _REQUEST_ID.fullmatch(given) else new_id("req")
    REQUEST_ID.set(request_id)
    state = scope.setdefault("state", {})
    state.update(request_id=request_id, family="together", headers={"x-request-id": request_id})
    return state


def _find_path(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    path = normalise(scope.get("raw_path") or scope["path"].encode())
    scope["path"] = path.path
    scope["state"]["family"] = family(path, headers.get(b"user-agent", b""))
    check_query(scope["query_string"])


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _record(scope: Scope, route: Any, status: int, seconds: float) -> None:
    """Count and log a request that has ended. `route` is the one that served it, None where there was
    none."""
    path = getattr(route, "path", "")
    state = scope["state"]
    metrics.observe_request(scope["method"], path, status)
    level = logging.DEBUG if path in _PROBES else logging.INFO
    if log.isEnabledFor(level):
        fields = {
            "method": scope["method"],
            "route": path,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "model": state.get("model"),
            "key_id": getattr(state.get("caller"), "key_id", None),
        }
        log.log(level, "request", extra=fields)
