"""The ASGI application: the routes of the features behind what every request passes, in this order.

Edge        path, request id, CORS, HEAD, error bodies, metrics, access log
Auth        key -> caller; without one, not even the body is read
Admission   requests and tokens a minute
JsonBodies  malformed JSON, and bodies that are too large
Shortcuts   the routes that are taken often
FastAPI     all routes
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from tutti import __version__
from tutti.access.limits import Limits
from tutti.base.errors import TuttiError
from tutti.base.settings import Settings
from tutti.http import asyncapi, errors, gaps, health, landing, openapi
from tutti.http.admission import Admission
from tutti.http.asyncapi import Channel
from tutti.http.auth import Auth
from tutti.http.body import JsonBodies
from tutti.http.cors import Cors
from tutti.http.edge import CLIENT_GONE, Edge
from tutti.http.inside import Inside
from tutti.http.paths import decode_ids
from tutti.http.route import Shortcuts
from tutti.http.routes import Routes
from tutti.store.db import Database

PREFIX = "/v1"


def build(
    routers: Sequence[APIRouter],
    *,
    settings: Settings,
    database: Database,
    limits: Limits,
    root_routers: Sequence[APIRouter] = (),
    channels: Sequence[Channel] = (),
) -> ASGIApp:
    """Build the application. `routers` are mounted at /v1, `root_routers` as they are."""
    app = _routes(routers)
    for router in [*root_routers, health.router(settings, database)]:
        _include(app, router, "")
    _include(app, _descriptions(app, channels), "")
    _include(app, gaps.router(), PREFIX)
    _handle_errors(app)
    bodies = JsonBodies(Shortcuts(app), settings.max_body_bytes)
    return Edge(Auth(Admission(bodies, limits), database, settings), Cors(settings.cors_origins))


def inside(routers: Sequence[APIRouter], settings: Settings) -> Inside:
    """Build the same routes for jobs. The caller has been let in already: no key, no limits, no access
    log."""
    app = _routes(routers)
    _handle_errors(app)
    return Inside(JsonBodies(Shortcuts(app), settings.max_body_bytes))


def _routes(routers: Sequence[APIRouter]) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in routers:
        _include(app, router, PREFIX)
    return app


def _include(app: FastAPI, router: APIRouter, prefix: str) -> None:
    has_ids = any("{" in (context.path or "") for context in iter_route_contexts(router.routes))
    app.include_router(
        router,
        prefix=prefix,
        dependencies=[Depends(_decode_ids)] if has_ids else [],
        responses={status: {"model": errors.ErrorData} for status in openapi.ERROR_STATUSES},
    )


async def _decode_ids(request: Request) -> None:
    request.scope["path_params"] = decode_ids(request.path_params)


def _descriptions(app: FastAPI, channels: Sequence[Channel]) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @cache
    def document() -> dict[str, Any]:
        return openapi.describe(app, channels, __version__)

    @cache
    def streaming_document() -> dict[str, Any]:
        return asyncapi.describe(document(), channels)

    @routes.get("/openapi.json")
    async def openapi_json() -> Response:
        return JSONResponse(document())

    @routes.get("/asyncapi.json")
    async def asyncapi_json() -> Response:
        return JSONResponse(streaming_document())

    routes.include_router(landing.router(document))
    return routes


def _handle_errors(app: FastAPI) -> None:
    routes = Routes(app)

    async def no_route(request: Request, exc: Exception) -> Response:
        """Answer the errors of routing. Only routing raises HTTPException with these two; our own code raises
        TuttiErrors."""
        status = exc.status_code if isinstance(exc, HTTPException) else None
        where = request.method, request.scope["path"]
        if status == 404:
            return errors.error_response(routes.not_found(*where))
        if status == 405:
            error, allowed = routes.not_allowed(*where)
            return errors.error_response(error, {"allow": allowed})
        return await errors.handle(request, exc)

    for kind in (TuttiError, RequestValidationError, Exception):
        app.add_exception_handler(kind, errors.handle)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(ClientDisconnect, _nobody_left)


async def _nobody_left(_request: Request, _exc: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)
