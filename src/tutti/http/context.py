"""What the middleware found out about a request, for the routes."""

from typing import Literal, cast

from starlette.requests import HTTPConnection
from starlette.types import Scope, Send

from tutti.access.caller import Caller

Family = Literal["together", "openai"]

DRAINING = "This server is draining."


def caller(request: HTTPConnection) -> Caller:
    """Set by the middleware of http/auth: every route but the exempt ones has one."""
    return cast(Caller, request.scope["state"]["caller"])


def request_id(request: HTTPConnection) -> str:
    """Set by http/server; also in the answer's `x-request-id` and in the log."""
    return cast(str, request.scope["state"]["request_id"])


def family(request: HTTPConnection) -> Family:
    """Whose answer to give where Together's and OpenAI's cannot both be served. Set by http/edge."""
    return cast(Family, request.scope["state"]["family"])


def send_more(scope: Scope, send: Send) -> Send:
    """For the body of a stream, once its head was sent by `send`. Set by http/edge."""
    return cast(Send, scope.get("state", {}).get("send_more", send))


def is_signed(request: HTTPConnection) -> bool:
    """Whether the caller came with a signed URL rather than a key. Set by the middleware of http/auth."""
    return bool(request.scope["state"].get("signed"))


def is_draining(scope: Scope) -> bool:
    """Whether this server takes no new work any more. Set by app/api for all requests from then on."""
    return "draining" in scope["state"]
