"""The facts about a request that the middleware found out, for the routes."""

from typing import Literal, cast

from starlette.requests import HTTPConnection
from starlette.types import Scope, Send

from tutti.access.caller import Caller

Family = Literal["together", "openai"]


def caller(request: HTTPConnection) -> Caller:
    """Return the caller. The middleware of http/auth sets it for every route but the exempt ones."""
    return cast(Caller, request.scope["state"]["caller"])


def request_id(request: HTTPConnection) -> str:
    """Return the request's id, which is also in the answer's `x-request-id` and in the log. http/edge sets
    it."""
    return cast(str, request.scope["state"]["request_id"])


def family(request: HTTPConnection) -> Family:
    """Return the client family whose answer to give, where Together's and OpenAI's cannot both be served.
    http/edge sets it."""
    return cast(Family, request.scope["state"]["family"])


def send_more(scope: Scope, send: Send) -> Send:
    """Return the `send` for the body of a stream whose head was sent by `send`. http/edge sets it."""
    return cast(Send, scope.get("state", {}).get("send_more", send))


def is_signed(request: HTTPConnection) -> bool:
    """Return True if the caller came with a signed URL rather than a key. The middleware of http/auth sets
    it."""
    return bool(request.scope["state"].get("signed"))


def is_draining(scope: Scope) -> bool:
    """Return True if this server takes no new work any more. app/api sets it for all requests from then
    on."""
    return "draining" in scope["state"]


def log_model(request: HTTPConnection, name: str) -> None:
    """Name the model in the line that http/edge logs about the request."""
    request.scope["state"]["model"] = name
