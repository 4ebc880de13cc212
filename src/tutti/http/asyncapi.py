"""/asyncapi.json: the operations that answer with server-sent events, as AsyncAPI 2.6 channels.

The payloads are the schemas of /openapi.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Json = dict[str, Any]

_HTTP = "0.3.0"
_DONE = "StreamDone"


@dataclass(frozen=True)
class Channel:
    """A streaming operation. `stream` is the type of its events in /openapi.json."""

    path: str
    title: str
    publish_id: str
    subscribe_id: str
    request: type[BaseModel]
    chunk: type[BaseModel]
    stream: Any
    chunk_message: str = ""
    """The name of the message, where it is not the name of the chunk's type."""

    @property
    def chunk_name(self) -> str:
        return self.chunk_message or self.chunk.__name__


def describe(openapi: Json, channels: Sequence[Channel]) -> Json:
    """Return the AsyncAPI document, for the schemas of an OpenAPI document."""
    return {
        "asyncapi": "2.6.0",
        "info": {
            "title": "Tutti Streaming Inference API",
            "version": openapi["info"]["version"],
            "description": "The operations that answer with `text/event-stream` when the request has "
            '`"stream": true`. Each `data:` line is a JSON chunk; the stream ends with `data: [DONE]`.',
        },
        "defaultContentType": "text/event-stream",
        "servers": {
            "local": {
                "url": "/v1",
                "protocol": "http",
                "description": "The server that this document came from.",
                "security": [{"bearerAuth": []}],
                "bindings": {"http": {"bindingVersion": _HTTP}},
            }
        },
        "channels": {channel.path: _channel(channel) for channel in channels},
        "components": {
            "securitySchemes": openapi["components"]["securitySchemes"],
            "messages": _messages(channels),
            "schemas": openapi["components"]["schemas"],
        },
    }


def _channel(channel: Channel) -> Json:
    chunk = _message_ref(channel.chunk_name)
    return {
        "description": f'{channel.title}s. With `"stream": true` the server answers with '
        f"`{channel.chunk_name}` events, then `[DONE]`.",
        "bindings": _binding(),
        "publish": {
            "summary": f"Open a streaming {channel.title.lower()} request.",
            "operationId": channel.publish_id,
            "bindings": _binding(),
            "message": _message_ref(channel.request.__name__),
        },
        "subscribe": {
            "summary": f"Receive streaming {channel.title.lower()} chunks.",
            "operationId": channel.subscribe_id,
            "bindings": _binding(),
            "message": {"oneOf": [chunk, _message_ref(_DONE)]},
        },
    }


def _binding() -> Json:
    return {"http": {"type": "request", "method": "POST", "bindingVersion": _HTTP}}


def _messages(channels: Sequence[Channel]) -> Json:
    messages: Json = {}
    for channel in channels:
        sent = f"JSON body posted by the client to open a streaming {channel.title.lower()}."
        got = f"A single `data:` event emitted while streaming a {channel.title.lower()}."
        for name, model, kind, summary in (
            (channel.request.__name__, channel.request, "Request", sent),
            (channel.chunk_name, channel.chunk, "Chunk", got),
        ):
            messages[name] = _message(name, model, f"{channel.title} {kind}", summary)
    messages[_DONE] = {
        "name": _DONE,
        "title": "Stream Done Sentinel",
        "summary": "Final SSE event signalling the end of the stream. The literal payload is `[DONE]`.",
        "contentType": "text/plain",
        "payload": {"type": "string", "const": "[DONE]"},
    }
    return messages


def _message(name: str, model: type[BaseModel], title: str, summary: str) -> Json:
    return {
        "name": name,
        "title": title,
        "summary": summary,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _message_ref(name: str) -> Json:
    return {"$ref": f"#/components/messages/{name}"}
