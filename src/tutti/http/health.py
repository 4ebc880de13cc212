"""The routes of health checks and metrics."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tutti.base.settings import Settings
from tutti.http.context import is_draining
from tutti.meeting.readiness import DRAINING, restarts, why_not_ready
from tutti.process import metrics
from tutti.store.db import Database


def router(settings: Settings, database: Database) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/livez")
    async def livez() -> Response:
        return JSONResponse({"status": "ok"})

    @routes.get("/health")
    @routes.get("/readyz")
    async def readyz(request: Request) -> Response:
        reason = DRAINING if is_draining(request.scope) else await why_not_ready(settings, database)
        if reason is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reason": reason}, 503, {"retry-after": "1"})

    @routes.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.exposition(await restarts(database)), media_type=metrics.CONTENT_TYPE)

    return routes
