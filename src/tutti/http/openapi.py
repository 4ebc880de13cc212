"""/openapi.json, made from our own models, under the contract's names.

Paths are relative to /v1, as in the contract; the few that are not under /v1 name their own server.
"""

from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from tutti.http.asyncapi import Channel

Json = dict[str, Any]

ERROR_STATUSES = (400, 401, 404, 429, 503, 504, "default")

_PREFIX = "/v1"
_REF = "#/components/schemas/{model}"
_UNUSED = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, channels: Sequence[Channel], version: str) -> Json:
    """Return the OpenAPI document of the application's routes, with the streams of `channels`."""
    document = get_openapi(
        title="Tutti",
        version=version,
        description="The Together API, served from your own machines.",
        routes=app.routes,
        servers=[{"url": _PREFIX}],
        separate_input_output_schemas=False,
    )
    document["security"] = [{"bearerAuth": []}]
    document["paths"] = {_relative(path): _item(path, item) for path, item in document["paths"].items()}
    components = document["components"]
    components["securitySchemes"] = {"bearerAuth": {"type": "http", "scheme": "bearer"}}
    for name in _UNUSED:
        components["schemas"].pop(name, None)
    for channel in channels:
        _add_stream(document, channel)
    return document


def _relative(path: str) -> str:
    return path.removeprefix(_PREFIX)


def _item(path: str, item: Mapping[str, Any]) -> Json:
    """Return the description of one path, without the 422 that FastAPI adds: we never answer it."""
    for operation in item.values():
        operation["responses"].pop("422", None)
    return {**item} if path.startswith(_PREFIX + "/") else {"servers": [{"url": "/"}], **item}


def _add_stream(document: Json, channel: Channel) -> None:
    # Inside a list the type is referred to by its name, rather than written out.
    named: Any = GenericAlias(list, (channel.stream,))
    schema = TypeAdapter[Any](named).json_schema(mode="serialization", ref_template=_REF)
    document["components"]["schemas"].update(schema["$defs"])
    answer = document["paths"][channel.path]["post"]["responses"]["200"]
    answer["content"]["text/event-stream"] = {"schema": schema["items"]}
