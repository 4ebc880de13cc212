"""Routes for the most frequent requests, without the work that FastAPI does around any route: for a request
to a model that would be more than all of ours."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Receive, Scope, Send

from tutti.http.body import decoded


class BodyRoute(APIRoute):
    """A route for endpoints that answer a POST with the parameters `request` and `body`, a model, and no
    others. FastAPI describes them as any other."""

    async def answer(self, request: Request, value: Any) -> Response:
        """Validate the decoded body and call the endpoint. Raises RequestValidationError."""
        assert self.body_field is not None, f"{self.path} has no body"
        body, complaints = self.body_field.validate(value, {}, loc=("body",))
        if complaints:
            raise RequestValidationError(complaints, body=value)
        return await self.endpoint(request=request, body=body)


class Shortcuts:
    """Sends a JSON body for a BodyRoute straight to it, and lets its errors go on to http/edge. The rest goes
    through FastAPI, which also says what is wrong with a body that is not JSON."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._routes = {
            context.path: route
            for context in iter_route_contexts(app.routes)
            if isinstance(route := context.original_route, BodyRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, value = self._routes.get(scope["path"]), decoded(scope)
        if route is None or value is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        response = await route.answer(Request(scope, receive), value)
        await response(scope, receive, send)
