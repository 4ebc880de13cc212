"""Authenticating every request: from the Authorization header, or a signed URL, to a Caller."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from tutti.access.authenticator import Authenticator
from tutti.access.keys import server_secret
from tutti.base.errors import Unavailable
from tutti.base.settings import Settings
from tutti.http import landing
from tutti.http.context import is_draining
from tutti.http.signed import SignedUrls
from tutti.meeting.readiness import DRAINING
from tutti.store.db import Database

EXEMPT = frozenset(
    {"/livez", "/readyz", "/health", "/metrics", "/openapi.json", "/asyncapi.json", *landing.PATHS}
)


class Auth:
    """Puts the Caller where http/context finds it. Its errors are for http/edge, around it."""

    def __init__(self, app: ASGIApp, database: Database, settings: Settings) -> None:
        self._app = app
        self._authenticator = Authenticator(database, settings)
        self._signed = SignedUrls(server_secret(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in EXEMPT:
            if is_draining(scope):
                raise Unavailable(f"{DRAINING} Try again.", retry_after_s=1)
            state: dict[str, Any] = scope["state"]
            # Only a PUT is ever signed for. Its URL counts even beside an Authorization header: some HTTP
            # libraries add one of their own accord.
            signed = self._signed.caller(scope) if scope.get("method") == "PUT" else None
            state["signed"] = signed is not None
            state["caller"] = signed or await self._authenticator.authenticate(_authorization(scope))
        await self._app(scope, receive, send)


def _authorization(scope: Scope) -> bytes | None:
    """Return the Authorization header; None where there is none, or several: nobody knows which of them is
    meant."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0] if len(values) == 1 else None
