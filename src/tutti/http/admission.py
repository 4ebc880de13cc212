"""Admitting requests within the limits of their keys, and telling clients how many are left."""

from starlette.types import ASGIApp, Receive, Scope, Send

from tutti.access.limits import Limits


class Admission:
    """Inside the auth middleware: counts a request that has a Caller, and adds the headers with what its key
    has left. Raises RateLimited."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (caller := scope["state"].get("caller")) is not None:
            scope["state"]["headers"].update(await self._limits.admit(caller))
        await self._app(scope, receive, send)
