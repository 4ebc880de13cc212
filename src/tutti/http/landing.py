"""The pages that people and programs try first: what this server is, and where to go on."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse, Response

from tutti import __version__

PATHS = ("/", "/v1", "/docs", "/version")

_ABOUT = {
    "name": "Tutti",
    "version": __version__,
    "about": "The Together API, served from your own machines. Requests go to /v1, with the header "
    "`Authorization: Bearer <key>`; OpenAI's clients may use /openai/v1.",
    "models": "/v1/models",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "asyncapi": "/asyncapi.json",
    "ready": "/readyz",
    "metrics": "/metrics",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tutti {version}</title>
<style>body {{font-family: sans-serif; margin: 2em}} td {{padding: .2em 1em .2em 0}}</style></head>
<body><h1>Tutti {version}</h1><p>{about}</p>
<p>In full: <a href="/openapi.json">/openapi.json</a>, streams in
<a href="/asyncapi.json">/asyncapi.json</a>.</p>
<table>{rows}</table></body></html>
"""


def router(document: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the routes. `document` makes /openapi.json."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    @routes.get("/v1")
    async def about() -> Response:
        return JSONResponse(_ABOUT)

    @routes.get("/version")
    async def version() -> Response:
        return JSONResponse({"version": __version__})

    @routes.get("/docs")
    async def docs() -> Response:
        rows = "".join(_rows(document()))
        return HTMLResponse(_PAGE.format(version=__version__, about=escape(_ABOUT["about"]), rows=rows))

    return routes


def _rows(document: dict[str, Any]) -> Iterator[str]:
    for path, item in document["paths"].items():
        prefix = item["servers"][0]["url"] if "servers" in item else "/v1"
        for method, operation in item.items():
            if method != "servers":
                cells = (method.upper(), prefix.rstrip("/") + path, operation.get("summary", ""))
                yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
