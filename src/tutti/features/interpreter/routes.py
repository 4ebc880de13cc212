"""Executes code, lists sessions and ends them. The answers of a sandbox host are passed on as they are."""

from fastapi import APIRouter, Request, Response

from tutti.features.interpreter import service
from tutti.features.interpreter.schemas import (
    ExecuteRequest,
    ExecuteResponse,
    SessionDeleteResponse,
    SessionListResponse,
)
from tutti.http.context import caller
from tutti.http.route import BodyRoute
from tutti.http.stream import while_connected
from tutti.platform import Platform


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute, tags=["Code Interpreter"])

    @routes.post("/tci/execute", operation_id="tci/execute", response_model=ExecuteResponse)
    async def execute(request: Request, body: ExecuteRequest) -> Response:
        """Executes the given code snippet and returns the output. Without a session_id, a new session will be
        created to run the code. If you do pass in a valid session_id, the code will be run in that session.
        This is useful for running multiple code snippets in the same environment, because dependencies and
        similar things are persisted between calls to the same session."""
        call = service.call(body, caller(request).project_id)
        return _json(await while_connected(request, service.execute(platform, caller(request), call)))

    @routes.get("/tci/sessions", operation_id="sessions/list", response_model=SessionListResponse)
    async def sessions(request: Request) -> Response:
        """Lists all your currently active sessions."""
        return _json(await platform.interpreter.sessions(caller(request).project_id))

    @routes.delete(
        "/tci/sessions/{session_id}", operation_id="sessions/delete", response_model=SessionDeleteResponse
    )
    async def end(request: Request, session_id: str) -> SessionDeleteResponse:
        """Ends a session, with what it has in memory and in files; code that it executes is ended, too."""
        await platform.interpreter.end(caller(request).project_id, session_id)
        return SessionDeleteResponse(id=session_id, deleted=True)

    return routes


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
